"""Invite links of groups, and invitations to single users.

Joining uses up an invitation or one use of a link by one statement, in the transaction that adds the member, under the lock of the conversation.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vyry.conversations.conversations import Conversation
from vyry.conversations.groups import check_admin
from vyry.conversations.invitations import Invitation, InvitationPage
from vyry.conversations.invite_links import MAX_INVITE_LINKS, InviteLink, join_by_link
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.discovery import person_from_row
from vyry.storage.groups import admins, apply_change, lock_conversation, wait_for_posts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


_CREATE: Final = """
    INSERT INTO invite (id, conversation_id, account_id, token_hash, max_uses, uses, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, 0, $6, $7)"""
_FORGET_ENDED: Final = "DELETE FROM invite WHERE conversation_id = $1 AND expires_at <= $2"
_COUNT: Final = "SELECT count(*) AS held FROM invite WHERE conversation_id = $1"
_LIST: Final = "SELECT * FROM invite WHERE conversation_id = $1 AND expires_at > $2 ORDER BY id DESC"
_WITHDRAW: Final = "DELETE FROM invite WHERE conversation_id = $1 AND id = $2 RETURNING id"
_FIND_CONVERSATION: Final = "SELECT conversation_id FROM invite WHERE token_hash = $1 AND expires_at > $2"
_CLAIM_USE: Final = """
    UPDATE invite SET uses = uses + 1 WHERE token_hash = $1 AND expires_at > $2 AND uses < max_uses RETURNING id"""
_IS_VALID: Final = "SELECT 1 FROM invite WHERE token_hash = $1 AND expires_at > $2"


class TortoiseInviteLinks:
    """InviteLinkStore on PostgreSQL or SQLite."""

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        key = invite.conversation_id
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, key), invite.user_id)
            await fetch(tx, _FORGET_ENDED, key, invite.created_at)
            if (await fetch(tx, _COUNT, key))[0]["held"] >= MAX_INVITE_LINKS:
                raise Forbidden("The group has reached its limit of invite links; revoke one.")
            ids = invite.invite_id, key, invite.user_id
            await fetch(tx, _CREATE, *ids, token_hash, invite.max_uses, invite.created_at, invite.expires_at)

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
            # Checked again under the lock: the link may have been revoked or used up meanwhile.
            if not await fetch(tx, _IS_VALID if is_member else _CLAIM_USE, token_hash, now):
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


_CLAIM_INVITATION: Final = "DELETE FROM group_invitation WHERE conversation_id = $1 AND to_id = $2 RETURNING account_id"
_PENDING_INVITATIONS: Final = """
    SELECT i.conversation_id, i.at, a.id, a.username, a.display_name, a.picture_attachment_id
    FROM group_invitation i JOIN account a ON a.id = i.account_id AND a.deleted_at IS NULL
    WHERE i.to_id = $1 AND i.conversation_id < $2 AND NOT EXISTS (
        SELECT 1 FROM block b WHERE (b.account_id = $1 AND b.blocked_id = a.id) OR (b.account_id = a.id AND b.blocked_id = $1))
    ORDER BY i.conversation_id DESC LIMIT $3"""
_BEYOND_ALL: Final = UUID(int=2**128 - 1)


class TortoiseInvitations:
    """InvitationStore on PostgreSQL or SQLite."""

    async def list_pending(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        async with database_guard():
            rows = await fetch(connection(), _PENDING_INVITATIONS, user, after or _BEYOND_ALL, limit + 1)
        page = [
            Invitation(ConversationId(to_uuid(row["conversation_id"])), person_from_row(row), to_datetime(row["at"]))
            for row in rows[:limit]
        ]
        return InvitationPage(page, page[-1].conversation_id if len(rows) > limit else None)

    async def accept(self, user: UserId, conversation_id: ConversationId, now: datetime) -> Conversation:
        async with transaction() as tx:
            before = await lock_conversation(tx, conversation_id)
            found = await fetch(tx, _CLAIM_INVITATION, conversation_id, user)
            if not found or UserId(to_uuid(found[0]["account_id"])) not in admins(before):
                raise NotFound
            after = await apply_change(tx, before, join_by_link(before, user, now), now)
        await wait_for_posts()
        return after

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        async with transaction() as tx:
            if not await fetch(tx, _CLAIM_INVITATION, conversation_id, user):
                raise NotFound
