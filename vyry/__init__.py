"""Vyry: a self-hosted messaging node whose mailboxes are numbered, hash-chained, resumable queues.

The seven verbs of an envelope: post, route, deposit, notify, collect, deliver, acknowledge (see ARCHITECTURE.md).
"""

__version__ = "1.0.0"
