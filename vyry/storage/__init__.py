"""Stores on PostgreSQL or SQLite, and the attachment stores."""
