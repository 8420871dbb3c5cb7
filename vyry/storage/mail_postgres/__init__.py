"""The mail store on PostgreSQL."""
