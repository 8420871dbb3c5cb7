"""Invites in PostgreSQL or SQLite. A use is claimed by one statement, in the transaction that makes the member, under the lock of the conversation."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vyry.conversations.conversations import Conversation
from vyry.conversations.groups import check_admin
from vyry.conversations.invite_links import MAX_INVITE_LINKS, InviteLink, join_by_link
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.groups import apply_change, lock_conversation, wait_for_posts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


_CREATE: Final = """
    INSERT INTO invite (id, conversation_id, account_id, token_hash, max_uses, uses, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, 0, $6, $7)"""
_FORGET_ENDED: Final = "DELETE FROM invite WHERE conversation_id = $1 AND expires_at <= $2"
_COUNT: Final = "SELECT count(*) AS held FROM invite WHERE conversation_id = $1"
_LIST: Final = "SELECT * FROM invite WHERE conversation_id = $1 AND expires_at > $2 ORDER BY id DESC"
_WITHDRAW: Final = "DELETE FROM invite WHERE conversation_id = $1 AND id = $2 RETURNING id"
_FIND_CONVERSATION: Final = "SELECT conversation_id FROM invite WHERE token_hash = $1 AND expires_at > $2"
_CLAIM: Final = """
    UPDATE invite SET uses = uses + 1 WHERE token_hash = $1 AND expires_at > $2 AND uses < max_uses RETURNING id"""
_IS_VALID: Final = "SELECT 1 FROM invite WHERE token_hash = $1 AND expires_at > $2"


class TortoiseInviteLinks:
    """InviteStore."""

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        key = invite.conversation_id
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, key), invite.user_id)
            await fetch(tx, _FORGET_ENDED, key, invite.created_at)
            if (await fetch(tx, _COUNT, key))[0]["held"] >= MAX_INVITE_LINKS:
                raise Forbidden("The group has as many invites as it may; withdraw one.")
            whose = invite.invite_id, key, invite.user_id
            await fetch(tx, _CREATE, *whose, token_hash, invite.max_uses, invite.created_at, invite.expires_at)

    async def list_active(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, conversation_id), admin)
            return [_invite(row) for row in await fetch(tx, _LIST, conversation_id, now)]

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, conversation_id), admin)
            if not await fetch(tx, _WITHDRAW, conversation_id, invite_id):
                raise NotFound

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        async with database_guard():
            found = await fetch(connection(), _FIND_CONVERSATION, token_hash, now)
        if not found:
            raise NotFound
        key = ConversationId(to_uuid(found[0]["conversation_id"]))
        async with transaction() as tx:
            before = await lock_conversation(tx, key)
            is_member = user in before.members
            # Under the lock: it may have been withdrawn, or have been used up, since it was looked at.
            if not await fetch(tx, _IS_VALID if is_member else _CLAIM, token_hash, now):
                raise NotFound
            after = await apply_change(tx, before, join_by_link(before, user, now), now)
        if not is_member:
            await wait_for_posts()
        return after


def _invite(row: dict[str, Any]) -> InviteLink:
    return InviteLink(
        to_uuid(row["id"]),
        ConversationId(to_uuid(row["conversation_id"])),
        UserId(to_uuid(row["account_id"])),
        row["max_uses"],
        row["uses"],
        to_datetime(row["created_at"]),
        to_datetime(row["expires_at"]),
    )
