"""What an operator sees of the partitions of the work topic, and how they are moved between workers."""
