"""A deposit of many mailboxes whose cost cannot turn into mailboxes times envelopes (bench/group.py): the envelopes are found first, each once.

As it was written before, the planner went through all mailboxes for each envelope once statistics had seen a table without unnumbered ones.
"""

from typing import Final

from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from migrations._mail_postgres import DEPOSIT


BEFORE: Final = "FROM unnest(boxes) k(id) JOIN mailbox m ON m.id = k.id JOIN envelope x ON x.mailbox = m.id AND x.seq IS NULL ORDER BY"
#: OFFSET 0 keeps the planner from putting the mailboxes into the inner loop.
NOW: Final = """FROM (SELECT y.ctid, y.mailbox, y.id, y.digest, y.size, y.lane, y.content, y.expires_at FROM envelope y
      WHERE y.mailbox = ANY(boxes) AND y.seq IS NULL OFFSET 0) x JOIN mailbox m ON m.id = x.mailbox ORDER BY"""
AGAIN: Final = DEPOSIT.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


async def deposit_straight(_apps: object, editor: BaseSchemaEditor) -> None:
    """Replace the function; nodes of the release before call it by the same name."""
    if editor.DIALECT == "postgres":
        await editor.client.execute_script(AGAIN.replace(BEFORE, NOW))


async def deposit_as_before(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo deposit_straight."""
    if editor.DIALECT == "postgres":
        await editor.client.execute_script(AGAIN)
