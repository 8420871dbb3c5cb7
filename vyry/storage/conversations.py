"""Conversations. The unique column `pair` admits one direct conversation of two accounts, also with concurrent requests."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.contacts.friends import FRIENDS_ONLY
from vyry.conversations.conversations import Conversation, ConversationKind, ConversationPage, Member, Role, page_length
from vyry.errors import Forbidden, NotFound, Unavailable
from vyry.kernel.ids import ConversationId, UserId, new_id
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.locks import lock_accounts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid
from vyry.storage.relationships import IS_BLOCKED, SHARES_CONVERSATION, pair_key


_OPEN = """
    INSERT INTO conversation (id, kind, pair, version, created_at, last_activity_at)
    SELECT $1, 'direct', $2, 1, $3, $3 FROM account WHERE id = $4 AND deleted_at IS NULL
    ON CONFLICT (pair) DO NOTHING RETURNING id"""
_JOIN = """
    INSERT INTO member (conversation_id, account_id, role, joined_at) VALUES ($1, $2, 'member', $4), ($1, $3, 'member', $4)"""
#: The direct conversation of $1 and $2, and whether $2 accepts friends only and $1 is none.
_FIND_DIRECT = f"""
    SELECT c.id, COALESCE(a.settings ->> 'messagesFrom', 'everyone') = 'friends' AND NOT EXISTS (
        SELECT 1 FROM friend WHERE account_id = $2 AND friend_id = $1) AS is_reserved
    FROM account a LEFT JOIN conversation c ON c.pair = $3 WHERE a.id = $2 AND a.deleted_at IS NULL AND NOT {IS_BLOCKED}"""
#: A CASE, because SQLite evaluates both sides of an AND: in a group of a thousand that would look up each pair of members for each member.
_LOAD = """
    SELECT c.id, c.kind, c.version, c.sealed_info, c.message_timer_seconds, c.created_at, c.last_activity_at,
           m.account_id, m.role, m.joined_at,
           CASE WHEN c.kind = 'direct' THEN EXISTS (
               SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id
               JOIN block b ON b.account_id = x.account_id AND b.blocked_id = y.account_id WHERE x.conversation_id = c.id)
           ELSE FALSE END AS is_barred
    FROM conversation c LEFT JOIN member m ON m.conversation_id = c.id
    WHERE c.id = ANY($1) ORDER BY c.id DESC, m.joined_at, m.account_id"""
_PAGE = """
    SELECT m.conversation_id, (SELECT count(*) FROM member each WHERE each.conversation_id = m.conversation_id) AS size
    FROM member m WHERE m.account_id = $1 AND m.conversation_id < $2 ORDER BY m.conversation_id DESC LIMIT $3"""
#: The rows are locked in the order of their ids, so that two nodes never deadlock.
_TOUCH = """
    UPDATE conversation SET last_activity_at = $2 WHERE id IN (
        SELECT id FROM conversation WHERE id = ANY($1) AND last_activity_at < $2 ORDER BY id FOR NO KEY UPDATE)"""
_WRITERS = {
    "postgres": "SELECT m.id FROM unnest($1::uuid[], $2::uuid[]) AS k (conversation_id, account_id)",
    "sqlite": """
        SELECT m.id FROM (SELECT one.value AS conversation_id, other.value AS account_id
            FROM json_each($1) one JOIN json_each($2) other ON other.key = one.key) k""",
}
_HAS_WRITTEN = """
    UPDATE member SET has_written = TRUE WHERE id IN ({}
        JOIN member m ON m.conversation_id = k.conversation_id AND m.account_id = k.account_id
        WHERE NOT m.has_written ORDER BY m.id FOR NO KEY UPDATE OF m)"""
_BEYOND_ALL = UUID(int=2**128 - 1)
_SHARE = f"SELECT 1 WHERE {SHARES_CONVERSATION} AND NOT {IS_BLOCKED}"


class TortoiseConversations:
    """ConversationStore on PostgreSQL or SQLite."""

    async def load(
        self, ids: Collection[ConversationId], tx: BaseDBAsyncClient | None = None
    ) -> dict[ConversationId, Conversation]:
        async with database_guard():
            found = await fetch(tx or connection(), _LOAD, list(ids))
        by_id: dict[ConversationId, list[dict[str, Any]]] = {}
        for row in found:
            by_id.setdefault(ConversationId(to_uuid(row["id"])), []).append(row)
        return {key: _conversation(key, rows) for key, rows in by_id.items()}

    async def find_direct(self, opener: UserId, other: UserId) -> Conversation | None:
        async with database_guard():
            key = await _find_direct_id(connection(), opener, other)
        return (await self.load([key])).popitem()[1] if key else None

    async def open_direct(self, opener: UserId, other: UserId, now: datetime) -> tuple[Conversation, bool]:
        async with transaction() as tx:
            await lock_accounts(tx, opener, other)
            if await _find_direct_id(tx, opener, other) is None:
                made = await fetch(tx, _OPEN, new_id(), pair_key(opener, other), now, other)
            else:
                made = []
            if made:
                await fetch(tx, _JOIN, to_uuid(made[0]["id"]), opener, other, now)
        conversation = await self.find_direct(opener, other)
        if conversation is None:
            raise Unavailable("The conversation was deleted just now.")
        return conversation, bool(made)

    async def list(self, member: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        async with database_guard():
            found = await fetch(connection(), _PAGE, member, after or _BEYOND_ALL, limit + 1)
        taken = page_length([row["size"] for row in found[:limit]])
        keys = [ConversationId(to_uuid(row["conversation_id"])) for row in found[:taken]]
        loaded = await self.load(keys)
        return ConversationPage(
            [loaded[key] for key in keys if key in loaded], keys[-1] if len(found) > taken else None
        )

    async def share_conversation(self, one: UserId, other: UserId) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _SHARE, one, other))

    async def record_activity(self, ids: Collection[ConversationId], at: datetime) -> None:
        async with transaction() as tx:
            await fetch(tx, _TOUCH, list(ids), at)

    async def note_writers(self, writers: Collection[tuple[ConversationId, UserId]]) -> None:
        async with transaction() as tx:
            statement = _HAS_WRITTEN.format(_WRITERS[tx.capabilities.dialect])
            await fetch(tx, statement, [key for key, _ in writers], [user for _, user in writers])


async def _find_direct_id(tx: BaseDBAsyncClient, opener: UserId, other: UserId) -> ConversationId | None:
    """The id of their direct conversation. Raises NotFound and Forbidden like `find_direct`."""
    found = await fetch(tx, _FIND_DIRECT, opener, other, pair_key(opener, other))
    if not found:
        raise NotFound
    if found[0]["id"] is None and found[0]["is_reserved"]:
        raise Forbidden(FRIENDS_ONLY)
    return ConversationId(to_uuid(found[0]["id"])) if found[0]["id"] else None


def _conversation(key: ConversationId, rows: list[dict[str, Any]]) -> Conversation:
    first = rows[0]
    members = {
        UserId(to_uuid(row["account_id"])): Member(Role(row["role"]), to_datetime(row["joined_at"]))
        for row in rows
        if row["account_id"] is not None
    }
    return Conversation(
        key,
        ConversationKind(first["kind"]),
        members,
        first["version"],
        first["sealed_info"],
        first["message_timer_seconds"],
        to_datetime(first["last_activity_at"]),
        to_datetime(first["created_at"]),
        bool(first["is_barred"]),
    )
