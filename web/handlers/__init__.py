"""REST handlers, one island a feature."""
