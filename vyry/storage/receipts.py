"""Who lets whom know what has come, as the database has it."""

from collections.abc import Collection
from typing import Final

from vyry.kernel.ids import ConversationId, UserId
from vyry.mail.receipts import MemberKey
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_uuid


_PLACES: Final = {
    "postgres": "unnest($2::uuid[], $3::uuid[]) AS p (conversation_id, account_id)",
    "sqlite": """
        (SELECT one.value AS conversation_id, other.value AS account_id
            FROM json_each($2) one JOIN json_each($3) other ON other.key = one.key) p""",
}
#: What ->> makes of a false is text in PostgreSQL and a number in SQLite; who never said anything has them on.
_SHOWN: Final = """
    SELECT p.conversation_id, p.account_id FROM {} JOIN account a ON a.id = p.account_id AND a.deleted_at IS NULL
        AND COALESCE(CAST(a.settings ->> 'deliveryReceipts' AS TEXT), 'true') NOT IN ('false', '0')
    WHERE NOT EXISTS (SELECT 1 FROM block b WHERE (b.account_id = $1 AND b.blocked_id = a.id) OR (b.account_id = a.id AND b.blocked_id = $1))
        AND (EXISTS (SELECT 1 FROM friend f WHERE f.account_id = a.id AND f.friend_id = $1) OR EXISTS (
            SELECT 1 FROM member m WHERE m.conversation_id = p.conversation_id AND m.account_id = a.id AND m.has_written))"""


class TortoiseReceipts:
    """ReceiptStore on PostgreSQL or SQLite."""

    async def filter_visible(self, viewer: UserId, members: Collection[MemberKey]) -> set[MemberKey]:
        async with database_guard():
            conn = connection()
            statement = _SHOWN.format(_PLACES[conn.capabilities.dialect])
            rows = await fetch(conn, statement, viewer, [key for key, _ in members], [user for _, user in members])
        return {(ConversationId(to_uuid(row["conversation_id"])), UserId(to_uuid(row["account_id"]))) for row in rows}
