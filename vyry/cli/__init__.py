"""The command `vyry`."""
