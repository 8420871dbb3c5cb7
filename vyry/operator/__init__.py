"""What operators do and see: accounts, audit log, secrets, restore detection, health."""
