"""Backup, verification and restore of a whole installation."""
