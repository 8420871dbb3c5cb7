"""The connections to one node: REST, WebSocket and attachment bytes. Every value of the node is validated here before anything uses it."""
