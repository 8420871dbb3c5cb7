"""The mail store on SQLite."""
