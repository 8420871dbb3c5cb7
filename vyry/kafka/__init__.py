"""The work topic in Kafka."""
