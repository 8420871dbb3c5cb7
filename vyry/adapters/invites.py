"""Invites in PostgreSQL or SQLite. A use is claimed by one statement, in the transaction that makes the member, under the lock of the conversation."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vyry.adapters.database import available, connection, transaction
from vyry.adapters.groups import lock, settle_posts, write
from vyry.adapters.statements import fetch, to_moment, to_uuid
from vyry.circles.conversations import Conversation
from vyry.circles.groups import check_admin
from vyry.circles.invites import MAX_INVITES, Invite, joined
from vyry.errors import Forbidden, NotFound
from vyry.ids import ConversationId, UserId


_CREATE: Final = """
    INSERT INTO invite (id, conversation_id, account_id, token_hash, max_uses, uses, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, 0, $6, $7)"""
_FORGET_ENDED: Final = "DELETE FROM invite WHERE conversation_id = $1 AND expires_at <= $2"
_COUNT: Final = "SELECT count(*) AS held FROM invite WHERE conversation_id = $1"
_HELD: Final = "SELECT * FROM invite WHERE conversation_id = $1 AND expires_at > $2 ORDER BY id DESC"
_WITHDRAW: Final = "DELETE FROM invite WHERE conversation_id = $1 AND id = $2 RETURNING id"
_LEADS_TO: Final = "SELECT conversation_id FROM invite WHERE token_hash = $1 AND expires_at > $2"
_CLAIM: Final = """
    UPDATE invite SET uses = uses + 1 WHERE token_hash = $1 AND expires_at > $2 AND uses < max_uses RETURNING id"""
_HOLDS: Final = "SELECT 1 FROM invite WHERE token_hash = $1 AND expires_at > $2"


class TortoiseInvites:
    """InviteStore."""

    async def create(self, invite: Invite, token_hash: str) -> None:
        key = invite.conversation_id
        async with transaction() as inside:
            check_admin(await lock(inside, key), invite.user_id)
            await fetch(inside, _FORGET_ENDED, key, invite.created_at)
            if (await fetch(inside, _COUNT, key))[0]["held"] >= MAX_INVITES:
                raise Forbidden("The group has as many invites as it may; withdraw one.")
            whose = invite.invite_id, key, invite.user_id
            await fetch(inside, _CREATE, *whose, token_hash, invite.max_uses, invite.created_at, invite.expires_at)

    async def of(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[Invite]:
        async with transaction() as inside:
            check_admin(await lock(inside, conversation_id), admin)
            return [_invite(row) for row in await fetch(inside, _HELD, conversation_id, now)]

    async def withdraw(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        async with transaction() as inside:
            check_admin(await lock(inside, conversation_id), admin)
            if not await fetch(inside, _WITHDRAW, conversation_id, invite_id):
                raise NotFound

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        async with available():
            found = await fetch(connection(), _LEADS_TO, token_hash, now)
        if not found:
            raise NotFound
        key = ConversationId(to_uuid(found[0]["conversation_id"]))
        async with transaction() as inside:
            before = await lock(inside, key)
            is_member = user in before.members
            # Under the lock: it may have been withdrawn, or have been used up, since it was looked at.
            if not await fetch(inside, _HOLDS if is_member else _CLAIM, token_hash, now):
                raise NotFound
            after = await write(inside, before, joined(before, user, now), now)
        if not is_member:
            await settle_posts()
        return after


def _invite(row: dict[str, Any]) -> Invite:
    return Invite(
        to_uuid(row["id"]),
        ConversationId(to_uuid(row["conversation_id"])),
        UserId(to_uuid(row["account_id"])),
        row["max_uses"],
        row["uses"],
        to_moment(row["created_at"]),
        to_moment(row["expires_at"]),
    )
