"""The checks of `vyry check`: each file has one subject, and each check returns findings."""
