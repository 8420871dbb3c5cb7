"""Invite links of groups, and invitations to single users.

Joining uses up an invitation or one use of a link by one statement, in the transaction that adds the member, under the lock of the conversation.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from vyry.conversations.conversations import Conversation
from vyry.conversations.groups import check_admin
from vyry.conversations.invitations import Invitation, InvitationPage
from vyry.conversations.invite_links import MAX_INVITE_LINKS, InviteLink, join_by_link
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.storage.conversation_models import InviteRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.discovery import person_from_row
from vyry.storage.groups import admins, apply_change, lock_conversation, wait_for_posts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid
from vyry.storage.relationships import A_IS_BLOCKED


_CLAIM_USE: Final = """
    UPDATE invite SET uses = uses + 1 WHERE token_hash = $1 AND expires_at > $2 AND uses < max_uses RETURNING id"""
_CLAIM_INVITATION: Final = "DELETE FROM group_invitation WHERE conversation_id = $1 AND to_id = $2 RETURNING account_id"
_PENDING_INVITATIONS: Final = f"""
    SELECT i.conversation_id, i.at, a.id, a.username, a.display_name, a.picture_attachment_id
    FROM group_invitation i JOIN account a ON a.id = i.account_id AND a.deleted_at IS NULL
    WHERE i.to_id = $1 AND i.conversation_id < $2 AND NOT {A_IS_BLOCKED}
    ORDER BY i.conversation_id DESC LIMIT $3"""
_BEYOND_ALL: Final = UUID(int=2**128 - 1)


class TortoiseInviteLinks:
    """InviteLinkStore on PostgreSQL or SQLite."""

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        key = invite.conversation_id
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, key), invite.user_id)
            links = InviteRow.filter(conversation_id=key).using_db(tx)
            await links.filter(expires_at__lte=invite.created_at).delete()
            if await links.count() >= MAX_INVITE_LINKS:
                raise Forbidden("The group has reached its limit of invite links; revoke one.")
            _ = await InviteRow.create(
                tx,
                id=invite.invite_id,
                conversation_id=key,
                account_id=invite.user_id,
                token_hash=token_hash,
                max_uses=invite.max_uses,
                created_at=invite.created_at,
                expires_at=invite.expires_at,
            )

    async def list_active(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, conversation_id), admin)
            links = InviteRow.filter(conversation_id=conversation_id, expires_at__gt=now).using_db(tx)
            return [_invite(row) for row in await links.order_by("-id")]

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        async with transaction() as tx:
            check_admin(await lock_conversation(tx, conversation_id), admin)
            if not await InviteRow.filter(conversation_id=conversation_id, id=invite_id).using_db(tx).delete():
                raise NotFound

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        valid = InviteRow.filter(token_hash=token_hash, expires_at__gt=now)
        async with database_guard():
            link = await valid.first()
        if link is None:
            raise NotFound
        key = ConversationId(link.conversation_id)
        async with transaction() as tx:
            before = await lock_conversation(tx, key)
            is_member = user in before.members
            # Checked again under the lock: the link may have been revoked or used up meanwhile.
            if not (await valid.using_db(tx).exists() if is_member else await fetch(tx, _CLAIM_USE, token_hash, now)):
                raise NotFound
            after = await apply_change(tx, before, join_by_link(before, user, now), now)
        if not is_member:
            await wait_for_posts()
        return after


def _invite(row: InviteRow) -> InviteLink:
    return InviteLink(
        row.id,
        ConversationId(row.conversation_id),
        UserId(row.account_id),
        row.max_uses,
        row.uses,
        row.created_at,
        row.expires_at,
    )


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
