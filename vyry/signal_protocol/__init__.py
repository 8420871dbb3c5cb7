"""The vyry suite, version 1: PQXDH, Double Ratchet, sender keys, attachments, linking, safety numbers. Sans-IO, without a line of the node (docs/signal-protocol.md)."""
