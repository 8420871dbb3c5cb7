"""`vyry client`: chat from a terminal or a script (docs/cli.md). A profile is a folder; everything in it is sealed."""
