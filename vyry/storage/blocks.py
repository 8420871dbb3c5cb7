"""Blocks. Concurrent changes between two accounts: see vyry/storage/relationships.py."""

from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.contacts.blocks import MAX_BLOCKS, Block, BlockPage
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.storage.conversation_models import BlockRow, FriendRequestRow, FriendRow, GroupInvitationRow
from vyry.storage.database import database_guard, transaction
from vyry.storage.groups import wait_for_posts
from vyry.storage.locks import lock_accounts
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.relationships import SHARES_CONVERSATION, in_either_direction, pair_key


#: Whether $1 blocks $2, whether $2 is hidden from $1 (it blocks $1, and they share no conversation), and how many accounts $1 blocks.
_RELATIONSHIP: Final = f"""
    SELECT EXISTS (SELECT 1 FROM block WHERE account_id = $1 AND blocked_id = $2) AS is_blocked,
        EXISTS (SELECT 1 FROM block WHERE account_id = $2 AND blocked_id = $1)
            AND NOT {SHARES_CONVERSATION} AS is_hidden,
        (SELECT count(*) FROM block WHERE account_id = $1) AS blocks"""
_RAISE: Final = "UPDATE conversation SET version = version + 1 WHERE pair = $1 RETURNING id"
_BEFORE_ALL: Final = UUID(int=0)


class TortoiseBlocks:
    """BlockStore on PostgreSQL or SQLite."""

    async def block(self, owner: UserId, other: UserId, now: datetime) -> ConversationId | None:
        async with transaction() as tx:
            there = await lock_accounts(tx, owner, other)
            between = (await fetch(tx, _RELATIONSHIP, owner, other))[0]
            if other not in there or between["is_hidden"]:
                raise NotFound
            if between["is_blocked"]:
                return None
            if between["blocks"] >= MAX_BLOCKS:
                raise Forbidden("You have reached the limit of blocked accounts.")
            changed = await _bump_version(tx, owner, other)
            _ = await BlockRow.create(tx, account_id=owner, blocked_id=other, at=now)
            await FriendRow.filter(in_either_direction(owner, other, "friend_id")).using_db(tx).delete()
            await FriendRequestRow.filter(in_either_direction(owner, other)).using_db(tx).delete()
            await GroupInvitationRow.filter(in_either_direction(owner, other)).using_db(tx).delete()
        if changed is not None:
            await wait_for_posts()
        return changed

    async def unblock(self, owner: UserId, other: UserId) -> ConversationId | None:
        async with transaction() as tx:
            await lock_accounts(tx, owner, other)
            changed = await _bump_version(tx, owner, other)
            if not await BlockRow.filter(account_id=owner, blocked_id=other).using_db(tx).delete():
                raise NotFound
            return changed

    async def list(self, owner: UserId, limit: int, after: UserId | None) -> BlockPage:
        async with database_guard():
            later = BlockRow.filter(account_id=owner, blocked_id__gt=after or _BEFORE_ALL)
            rows = await later.order_by("blocked_id").limit(limit + 1)
        page = [Block(UserId(row.blocked_id), row.at) for row in rows[:limit]]
        return BlockPage(page, page[-1].user_id if len(rows) > limit else None)


async def _bump_version(tx: BaseDBAsyncClient, one: UserId, other: UserId) -> ConversationId | None:
    """Raise the version of their direct conversation, so that no node posts there by a cached copy."""
    changed = await fetch(tx, _RAISE, pair_key(one, other))
    return ConversationId(to_uuid(changed[0]["id"])) if changed else None
