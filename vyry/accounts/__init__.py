"""Accounts: sign-up, sessions, profile."""
