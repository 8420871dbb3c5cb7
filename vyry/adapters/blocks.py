"""Blocks in PostgreSQL or SQLite; see vyry/adapters/ties.py for what keeps two at once apart."""

from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.adapters.database import available, connection, transaction
from vyry.adapters.groups import settle_posts
from vyry.adapters.statements import fetch, to_moment, to_uuid
from vyry.adapters.ties import lock_people, pair_of
from vyry.circles.blocks import MOST_BLOCKS, Block, BlockPage
from vyry.errors import Forbidden, NotFound
from vyry.ids import ConversationId, UserId


#: Whether $1 knows of $2: they share a conversation, or $2 does not block $1.
_BETWEEN: Final = """
    SELECT EXISTS (SELECT 1 FROM block WHERE account_id = $1 AND blocked_id = $2) AS is_blocked,
        EXISTS (SELECT 1 FROM block WHERE account_id = $2 AND blocked_id = $1) AND NOT EXISTS (
            SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id
            WHERE x.account_id = $1 AND y.account_id = $2) AS is_hidden,
        (SELECT count(*) FROM block WHERE account_id = $1) AS blocks"""
_RAISE: Final = "UPDATE conversation SET version = version + 1 WHERE pair = $1 RETURNING id"
_BLOCK: Final = "INSERT INTO block (account_id, blocked_id, at) VALUES ($1, $2, $3)"
_UNBLOCK: Final = "DELETE FROM block WHERE account_id = $1 AND blocked_id = $2 RETURNING 1"
_PART: Final = (
    "DELETE FROM friend WHERE (account_id = $1 AND friend_id = $2) OR (account_id = $2 AND friend_id = $1)",
    "DELETE FROM friend_request WHERE (account_id = $1 AND to_id = $2) OR (account_id = $2 AND to_id = $1)",
    "DELETE FROM group_invitation WHERE (account_id = $1 AND to_id = $2) OR (account_id = $2 AND to_id = $1)",
)
_PAGE: Final = """
    SELECT blocked_id AS id, at FROM block WHERE account_id = $1 AND blocked_id > $2 ORDER BY blocked_id LIMIT $3"""
_BEFORE_ALL: Final = UUID(int=0)


class TortoiseBlocks:
    """BlockStore."""

    async def block(self, owner: UserId, other: UserId, now: datetime) -> ConversationId | None:
        async with transaction() as inside:
            there = await lock_people(inside, owner, other)
            between = (await fetch(inside, _BETWEEN, owner, other))[0]
            if other not in there or between["is_hidden"]:
                raise NotFound
            if between["is_blocked"]:
                return None
            if between["blocks"] >= MOST_BLOCKS:
                raise Forbidden("You block as many people as one can block.")
            changed = await _raise_version(inside, owner, other)
            await fetch(inside, _BLOCK, owner, other, now)
            for statement in _PART:
                await fetch(inside, statement, owner, other)
        if changed is not None:
            await settle_posts()
        return changed

    async def unblock(self, owner: UserId, other: UserId) -> ConversationId | None:
        async with transaction() as inside:
            await lock_people(inside, owner, other)
            changed = await _raise_version(inside, owner, other)
            if not await fetch(inside, _UNBLOCK, owner, other):
                raise NotFound
            return changed

    async def list(self, owner: UserId, limit: int, after: UserId | None) -> BlockPage:
        async with available():
            rows = await fetch(connection(), _PAGE, owner, after or _BEFORE_ALL, limit + 1)
        page = [Block(UserId(to_uuid(row["id"])), to_moment(row["at"])) for row in rows[:limit]]
        return BlockPage(page, page[-1].user_id if len(rows) > limit else None)


async def _raise_version(inside: BaseDBAsyncClient, one: UserId, other: UserId) -> ConversationId | None:
    """Have every node load the direct conversation of the two anew before it posts there."""
    changed = await fetch(inside, _RAISE, pair_of(one, other))
    return ConversationId(to_uuid(changed[0]["id"])) if changed else None
