"""Who has switched typing indicators off, or is kept from somebody's by a block, as the database has it."""

from collections.abc import Collection
from typing import Final

from vyry.kernel.ids import UserId
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_uuid


#: What ->> makes of a false is text in PostgreSQL and a number in SQLite; who never said anything has them on.
_SILENT: Final = """
    SELECT id FROM account WHERE id = ANY($2) AND (CAST(settings->>'typingIndicators' AS TEXT) IN ('false', '0')
        OR id IN (SELECT blocked_id FROM block WHERE account_id = $1) OR id IN (SELECT account_id FROM block WHERE blocked_id = $1))"""


class TortoiseTypingPrivacy:
    """Quiet on PostgreSQL or SQLite: one statement for a conversation, however large."""

    async def filter_hidden(self, typist: UserId, users: Collection[UserId]) -> set[UserId]:
        async with database_guard():
            rows = await fetch(connection(), _SILENT, typist, list(users))
        return {UserId(to_uuid(row["id"])) for row in rows}
