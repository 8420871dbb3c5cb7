"""Which users may see another user's presence, typing and receipts, by their privacy settings, friendships and blocks.

PostgreSQL reads a JSON boolean (`->>`) as the text 'true' or 'false', SQLite as 1 or 0.
"""

from collections.abc import Collection
from typing import Final

from vyry.kernel.batches import batched
from vyry.kernel.ids import ConversationId, UserId
from vyry.mail.receipts import MemberKey
from vyry.signals.presence import WatchPair
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.relationships import A_IS_BLOCKED, is_blocked


#: Accounts or pairs of one statement.
_BATCH: Final = 1_000
_SHOWS_PRESENCE: Final = "CAST(a.settings->>'showPresence' AS TEXT) IN ('true', '1')"
_SHOWING_PRESENCE: Final = (
    f"SELECT a.id FROM account a WHERE a.id = ANY($1) AND a.deleted_at IS NULL AND {_SHOWS_PRESENCE}"
)
_TO_FRIENDS: Final = f"""
    JOIN friend f ON f.account_id = p.watched AND f.friend_id = p.watcher
    JOIN account a ON a.id = p.watched AND a.deleted_at IS NULL AND {_SHOWS_PRESENCE}
    WHERE NOT {is_blocked("p.watched", "p.watcher")}"""
_VISIBLE_PRESENCE: Final = {
    "postgres": f"SELECT p.watcher, p.watched FROM unnest($1::uuid[], $2::uuid[]) AS p (watcher, watched) {_TO_FRIENDS}",
    "sqlite": f"""
        SELECT p.watcher, p.watched FROM (
            SELECT one.value AS watcher, other.value AS watched FROM json_each($1) one JOIN json_each($2) other ON other.key = one.key
        ) p {_TO_FRIENDS}""",
}
#: Typing indicators and delivery receipts are on by default.
_HIDDEN_TYPING: Final = """
    SELECT id FROM account WHERE id = ANY($2) AND (CAST(settings->>'typingIndicators' AS TEXT) IN ('false', '0')
        OR id IN (SELECT blocked_id FROM block WHERE account_id = $1) OR id IN (SELECT account_id FROM block WHERE blocked_id = $1))"""
_PAIRS: Final = {
    "postgres": "unnest($2::uuid[], $3::uuid[]) AS p (conversation_id, account_id)",
    "sqlite": """
        (SELECT one.value AS conversation_id, other.value AS account_id
            FROM json_each($2) one JOIN json_each($3) other ON other.key = one.key) p""",
}
_VISIBLE_RECEIPTS: Final = f"""
    SELECT p.conversation_id, p.account_id FROM {{pairs}} JOIN account a ON a.id = p.account_id AND a.deleted_at IS NULL
        AND COALESCE(CAST(a.settings ->> 'deliveryReceipts' AS TEXT), 'true') NOT IN ('false', '0')
    WHERE NOT {A_IS_BLOCKED}
        AND (EXISTS (SELECT 1 FROM friend f WHERE f.account_id = a.id AND f.friend_id = $1) OR EXISTS (
            SELECT 1 FROM member m WHERE m.conversation_id = p.conversation_id AND m.account_id = a.id AND m.has_written))"""


class TortoisePresencePrivacy:
    """PresencePrivacy on PostgreSQL or SQLite."""

    async def filter_visible(self, pairs: Collection[WatchPair]) -> set[WatchPair]:
        found: set[WatchPair] = set()
        for part in batched(pairs, _BATCH):
            async with database_guard():
                database = connection()
                statement = _VISIBLE_PRESENCE[database.capabilities.dialect]
                rows = await fetch(database, statement, [one for one, _ in part], [other for _, other in part])
            found |= {(UserId(to_uuid(row["watcher"])), UserId(to_uuid(row["watched"]))) for row in rows}
        return found

    async def filter_showing(self, users: Collection[UserId]) -> set[UserId]:
        found: set[UserId] = set()
        for part in batched(users, _BATCH):
            async with database_guard():
                rows = await fetch(connection(), _SHOWING_PRESENCE, part)
            found |= {UserId(to_uuid(row["id"])) for row in rows}
        return found


class TortoiseTypingPrivacy:
    """TypingPrivacy on PostgreSQL or SQLite: one statement for a conversation of any size."""

    async def filter_hidden(self, typist: UserId, users: Collection[UserId]) -> set[UserId]:
        async with database_guard():
            rows = await fetch(connection(), _HIDDEN_TYPING, typist, list(users))
        return {UserId(to_uuid(row["id"])) for row in rows}


class TortoiseReceipts:
    """ReceiptStore on PostgreSQL or SQLite."""

    async def filter_visible(self, viewer: UserId, members: Collection[MemberKey]) -> set[MemberKey]:
        async with database_guard():
            database = connection()
            statement = _VISIBLE_RECEIPTS.format(pairs=_PAIRS[database.capabilities.dialect])
            rows = await fetch(database, statement, viewer, [key for key, _ in members], [user for _, user in members])
        return {(ConversationId(to_uuid(row["conversation_id"])), UserId(to_uuid(row["account_id"]))) for row in rows}
