"""mail_postgres."""
