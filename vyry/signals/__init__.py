"""Signals between sockets: typing (typing_indicators.py), calls (calls.py, call_store.py) and presence (presence.py), over relay.py.

Typing and call signals are relayed and not stored. A call is stored while it rings and for some minutes after; presence is kept by leases.
socket_quotas.py limits the open sockets of an account and an address.
"""
