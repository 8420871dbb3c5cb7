"""Having people invited into a group, inside the transaction that holds its lock."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.conversations.conversations import Conversation
from vyry.conversations.invitations import MAX_PENDING, MAX_PER_INVITER
from vyry.kernel.ids import UserId
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch


_WAITING: Final = "SELECT count(*) AS waiting FROM group_invitation WHERE to_id = $1"
_INVITE: Final = """
    INSERT INTO group_invitation (conversation_id, account_id, to_id, at)
    SELECT $1, $2, id, $4 FROM account WHERE id = $3 AND deleted_at IS NULL ON CONFLICT (conversation_id, to_id) DO NOTHING RETURNING to_id"""
#: The oldest beyond the number that may wait of one inviter, and of all.
_TRIM_ONE: Final = """
    DELETE FROM group_invitation WHERE id IN (
        SELECT id FROM group_invitation WHERE to_id = $1 AND account_id = $2 ORDER BY id DESC LIMIT 1000 OFFSET $3)"""
_TRIM_ALL: Final = """
    DELETE FROM group_invitation WHERE id IN (
        SELECT id FROM group_invitation WHERE to_id = $1 ORDER BY id DESC LIMIT 1000 OFFSET $2)"""


async def add_invitations(
    tx: BaseDBAsyncClient, group: Conversation, inviter: UserId, users: Collection[UserId], now: datetime
) -> None:
    """Each who is no member. Whoever has invitations waiting was told of the first and is told of no other."""
    for user in sorted(set(users) - group.members.keys()):
        waiting = (await fetch(tx, _WAITING, user))[0]["waiting"]
        if not await fetch(tx, _INVITE, group.conversation_id, inviter, user, now):
            continue
        await fetch(tx, _TRIM_ONE, user, inviter, MAX_PER_INVITER)
        await fetch(tx, _TRIM_ALL, user, MAX_PENDING)
        if not waiting:
            # In the turn of the inviter, who may cause a thousand of these at once.
            await enqueue_notice(tx, NewNotice(user, Audience.OWN, {"name": "groupInvited"}, now, caused_by=inviter))
