"""The Python SDK: a device that keeps its keys, talks to a node and loses nothing (docs/sdk.md).

Each package imports only those below it:

- `api`: the interface for programs: `Client` and its parts.
- `sync`: turns mailbox entries into events and contents into posts.
- `crypto`: keys, sessions, device lists and pins of this profile.
- `transport`: REST, WebSocket and attachment bytes of one node, validated.
- `store`: the encrypted SQLite file and the values in it (`store/kinds.py` lists them).
- `errors`: the errors that the SDK raises.

A received message passes, in this order: `transport/connection.py` (a frame of entries), `api/client.py` (one page at a time), `sync/prefetch.py`
(fetches members and device lists that are not known), `sync/inbox.py` (hash chain, pins, one transaction for the page), `crypto/unsealing.py`
(session or sender key), `sync/content_processor.py` (what the content does), `store/journal.py` (the event), and back to the connection, which
acknowledges. `Client.events()` reads the journal.
"""
