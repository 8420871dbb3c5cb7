"""`vyry client`: chat from a terminal or a script (docs/cli.md). A profile is a folder with the encrypted store of one device."""
