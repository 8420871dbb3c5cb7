"""Who has switched typing indicators off, or is kept from somebody's by a block, as the database has it."""

from collections.abc import Collection
from typing import Final

from vyry.adapters.database import available, connection
from vyry.adapters.statements import fetch, to_uuid
from vyry.ids import UserId


#: What ->> makes of a false is text in PostgreSQL and a number in SQLite; who never said anything has them on.
_SILENT: Final = """
    SELECT id FROM account WHERE id = ANY($2) AND (CAST(settings->>'typingIndicators' AS TEXT) IN ('false', '0')
        OR id IN (SELECT blocked_id FROM block WHERE account_id = $1) OR id IN (SELECT account_id FROM block WHERE blocked_id = $1))"""


class TortoiseQuiet:
    """Quiet on PostgreSQL or SQLite: one statement for a conversation, however large."""

    async def silent(self, typist: UserId, users: Collection[UserId]) -> set[UserId]:
        async with available():
            rows = await fetch(connection(), _SILENT, typist, list(users))
        return {UserId(to_uuid(row["id"])) for row in rows}
