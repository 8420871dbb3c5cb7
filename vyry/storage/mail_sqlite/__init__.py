"""mail_sqlite."""
