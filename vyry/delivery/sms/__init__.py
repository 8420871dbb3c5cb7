"""Senders of one-time codes."""
