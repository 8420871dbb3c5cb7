"""Invitations into groups in PostgreSQL or SQLite. One is claimed by one statement, in the transaction that makes the member, under the lock of the group."""

from datetime import datetime
from typing import Final
from uuid import UUID

from vyry.conversations.conversations import Conversation
from vyry.conversations.invitations import Invitation, InvitationPage
from vyry.conversations.invite_links import join_by_link
from vyry.errors import NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.discovery import person_from_row
from vyry.storage.groups import admins, apply_change, lock_conversation, wait_for_posts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


_CLAIM: Final = "DELETE FROM group_invitation WHERE conversation_id = $1 AND to_id = $2 RETURNING account_id"
_PAGE: Final = """
    SELECT i.conversation_id, i.at, a.id, a.username, a.display_name, a.picture_attachment_id
    FROM group_invitation i JOIN account a ON a.id = i.account_id AND a.deleted_at IS NULL
    WHERE i.to_id = $1 AND i.conversation_id < $2 AND NOT EXISTS (
        SELECT 1 FROM block b WHERE (b.account_id = $1 AND b.blocked_id = a.id) OR (b.account_id = a.id AND b.blocked_id = $1))
    ORDER BY i.conversation_id DESC LIMIT $3"""
_BEYOND_ALL: Final = UUID(int=2**128 - 1)


class TortoiseInvitations:
    """InvitationStore."""

    async def list_pending(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        async with database_guard():
            rows = await fetch(connection(), _PAGE, user, after or _BEYOND_ALL, limit + 1)
        page = [
            Invitation(ConversationId(to_uuid(row["conversation_id"])), person_from_row(row), to_datetime(row["at"]))
            for row in rows[:limit]
        ]
        return InvitationPage(page, page[-1].conversation_id if len(rows) > limit else None)

    async def accept(self, user: UserId, conversation_id: ConversationId, now: datetime) -> Conversation:
        async with transaction() as tx:
            before = await lock_conversation(tx, conversation_id)
            found = await fetch(tx, _CLAIM, conversation_id, user)
            if not found or UserId(to_uuid(found[0]["account_id"])) not in admins(before):
                raise NotFound
            after = await apply_change(tx, before, join_by_link(before, user, now), now)
        await wait_for_posts()
        return after

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        async with transaction() as tx:
            if not await fetch(tx, _CLAIM, conversation_id, user):
                raise NotFound
