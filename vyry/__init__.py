"""Vyry: a self-hosted messaging node whose mailboxes are numbered, hash-chained, resumable queues.

The way of an envelope has seven verbs: post, route, deposit, ring, collect, deliver, acknowledge (see ARCHITECTURE.md).
"""

__version__ = "1.0.0"
