"""The vyry suite, version 1: PQXDH, Double Ratchet, sender keys, attachments, linking, safety numbers. No I/O, and no code of the node (docs/signal-protocol.md)."""
