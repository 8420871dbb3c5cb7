"""The REST API, one file a feature: its shapes, its handlers and its rows of the route table."""
