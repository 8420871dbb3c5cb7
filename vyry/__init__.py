"""Vyry: a self-hosted messaging node whose mailboxes are numbered, hash-chained, resumable queues.

An envelope passes seven steps: post, route, deposit, notify, collect, deliver, acknowledge (see ARCHITECTURE.md).
"""

__version__ = "1.0.0"
