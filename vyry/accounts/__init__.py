"""Accounts and their devices: account.py has the values and stores.

Sign-up: signup.py, with one-time codes (otp.py, otp_limits.py) and registration_lock.py, which requires the PIN.
Sessions: sessions.py with tokens.py, signing.py and device_status.py. The owner's PIN: pin.py (verify) and own_pin.py (set, change, reset, remove).
"""
