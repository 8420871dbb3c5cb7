"""The encrypted SQLite file of a profile, and the values, events and queues in it. Nothing here knows the network."""
