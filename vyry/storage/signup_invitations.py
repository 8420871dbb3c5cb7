"""Invitations to sign up."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.signup_invitations import InvitationToken, MemberQuota, SignupInvitation
from vyry.errors import NotFound
from vyry.kernel.ids import UserId
from vyry.limits import Grant
from vyry.storage.database import database_guard, transaction
from vyry.storage.locks import lock_account
from vyry.storage.sign_up_models import SignupInvitationRow


class TortoiseSignupInvitations:
    """SignupInvitationStore on PostgreSQL or SQLite."""

    async def create(self, invitation: SignupInvitation, token: InvitationToken, quota: MemberQuota) -> Grant:
        maker = invitation.user_id
        async with transaction() as tx:
            # Concurrent calls of one member count one after the other.
            if maker is None or await lock_account(tx, maker) is None:
                raise NotFound
            rows = await SignupInvitationRow.filter(account_id=maker, created_at__gt=quota.since).using_db(tx)
            recent = [invitation_from_row(row) for row in rows]
            quota.check(recent, invitation.max_uses)
            await add_invitation(tx, invitation, token)
        return quota.remaining([*recent, invitation])

    async def list_open(
        self, maker: UserId, now: datetime, limit: int, after: UUID | None
    ) -> Sequence[SignupInvitation]:
        mine = SignupInvitationRow.filter(account_id=maker, expires_at__gt=now, revoked_at=None)
        rest = mine if after is None else mine.filter(id__lt=after)
        async with database_guard():
            return [invitation_from_row(row) for row in await rest.order_by("-id").limit(limit)]

    async def list_since(self, maker: UserId, since: datetime) -> Sequence[SignupInvitation]:
        mine = SignupInvitationRow.filter(account_id=maker, created_at__gt=since)
        async with database_guard():
            return [invitation_from_row(row) for row in await mine]

    async def revoke(self, maker: UserId, invitation_id: UUID, now: datetime) -> None:
        mine = SignupInvitationRow.filter(id=invitation_id, account_id=maker, revoked_at=None, expires_at__gt=now)
        async with database_guard():
            if not await mine.update(revoked_at=now):
                raise NotFound


async def add_invitation(tx: BaseDBAsyncClient, invitation: SignupInvitation, token: InvitationToken) -> None:
    """Save an invitation."""
    _ = await SignupInvitationRow.create(
        tx,
        id=invitation.invitation_id,
        token_hash=token.hash,
        pepper_id=token.pepper_id,
        account_id=invitation.user_id,
        label=invitation.label,
        max_uses=invitation.max_uses,
        uses=0,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
    )


def invitation_from_row(row: SignupInvitationRow) -> SignupInvitation:
    """The domain value of a row."""
    return SignupInvitation(
        row.id,
        None if row.account_id is None else UserId(row.account_id),
        row.label,
        row.max_uses,
        row.uses,
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
