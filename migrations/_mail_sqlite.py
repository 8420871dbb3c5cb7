"""The mail tables on SQLite. Narrow envelopes, bodies of their own: numbering an envelope never rewrites its content.

Times are milliseconds since 1970, UUIDs 16 bytes, arrays packed big-endian 8-byte integers (0 where there is no number).
"""

DDL = [
    # One accepted post: the idempotency key and its stored outcome.
    """
    CREATE TABLE message (
        sender INTEGER NOT NULL,
        message_id BLOB NOT NULL,
        fingerprint BLOB NOT NULL,
        accepted_at INTEGER NOT NULL,
        mailboxes BLOB NOT NULL,
        numbers BLOB NOT NULL,
        PRIMARY KEY (sender, message_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX message_accepted_at ON message (accepted_at)",
    # A body, for as many copies as still need it.
    "CREATE TABLE content (id INTEGER PRIMARY KEY, copies INTEGER NOT NULL, packed BLOB NOT NULL)",
    # A copy for one mailbox. Without a seq it is unnumbered; with a loss its content is gone.
    """
    CREATE TABLE envelope (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mailbox INTEGER NOT NULL,
        seq INTEGER,
        content INTEGER NOT NULL,
        digest BLOB NOT NULL,
        head BLOB,
        size INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL,
        loss INTEGER,
        UNIQUE (mailbox, seq)
    )
    """,
    "CREATE INDEX envelope_unnumbered ON envelope (accepted_at, mailbox) WHERE seq IS NULL",
    "CREATE INDEX envelope_expires_at ON envelope (expires_at) WHERE seq IS NOT NULL AND loss IS NULL",
    # What became of envelopes that are gone or lost: 1 acknowledged, 2 expired, 3 dropped.
    """
    CREATE TABLE fate (
        id INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL,
        at INTEGER NOT NULL,
        state INTEGER NOT NULL,
        numbers BLOB NOT NULL
    )
    """,
    "CREATE INDEX fate_mailbox_at ON fate (mailbox, at)",
    "CREATE INDEX fate_at ON fate (at)",
]
