"""Accounts and their devices: account.py has the values and stores.

Sign-up: registration.py asks for and redeems a one-time code (otp.py), signup.py makes the session, registration_lock.py delays it until the PIN is given.
Sessions: sessions.py with tokens.py, signing.py and device_status.py. The owner's PIN: pin.py (verify) and own_pin.py (set, change, reset, remove).
"""
