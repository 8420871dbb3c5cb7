"""Adapters over Redis: rate limits, tickets, connection slots, presence, and the hints between nodes."""
