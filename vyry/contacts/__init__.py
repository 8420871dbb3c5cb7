"""Contacts between accounts: friends and requests (friends.py), blocks (blocks.py), and how accounts are found (discovery.py)."""
