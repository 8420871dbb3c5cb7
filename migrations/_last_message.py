"""In which order the messages of a device were accepted: what a device that comes back is told of itself (docs/protocol.md, "Mailbox").

A column and an index that only inserts write to: a post updates nothing more than before. Rows of before have no ordinal and are never the last message,
so a device is told null until it has posted again; nothing is rewritten, and nodes of the release before go on inserting without naming the column.
"""

from typing import Final

from tortoise.migrations.schema_editor.base import BaseSchemaEditor


#: Not `accepted_at`: that is the clock of whichever node took the post, and one moment for a whole batch.
_INDEX: Final = "CREATE INDEX message_ordinal ON message (sender, ordinal) WHERE ordinal IS NOT NULL"
_CREATE: Final = {
    "postgres": (
        "CREATE SEQUENCE message_ordinal_seq",
        "ALTER TABLE message ADD COLUMN ordinal bigint",
        # A default of its own statement holds for new rows alone. It is drawn inside the statement, so whoever posts after an answer gets a higher one.
        "ALTER TABLE message ALTER COLUMN ordinal SET DEFAULT nextval('message_ordinal_seq')",
        _INDEX,
    ),
    # Here the store names it (vyry/adapters/sqlite_posting.py).
    "sqlite": ("ALTER TABLE message ADD COLUMN ordinal INTEGER", _INDEX),
}
_DROP: Final = {
    "postgres": ("ALTER TABLE message DROP COLUMN ordinal", "DROP SEQUENCE message_ordinal_seq"),
    "sqlite": ("DROP INDEX message_ordinal", "ALTER TABLE message DROP COLUMN ordinal"),
}


async def order_messages(_apps: object, editor: BaseSchemaEditor) -> None:
    """Give every message accepted from now on its place among those of its sender."""
    for statement in _CREATE[editor.DIALECT]:
        await editor.client.execute_query(statement)


async def forget_order(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo order_messages."""
    for statement in _DROP[editor.DIALECT]:
        await editor.client.execute_query(statement)
