"""What carries the domain: PostgreSQL, SQLite, Kafka, Redis, memory."""
