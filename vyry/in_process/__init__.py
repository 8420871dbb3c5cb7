"""Adapters of a node that runs alone: what Redis and Kafka do for several nodes, and the work that needs a thread."""
