"""The Python SDK: a device that keeps its keys, speaks to a node, and loses nothing (docs/sdk.md)."""
