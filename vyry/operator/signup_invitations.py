"""Invitations to sign up, made, listed and revoked by operators. Every change writes a line of the audit log in its transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.accounts.phone import Pepper, fingerprint
from vyry.accounts.signup_invitations import InvitationTerms, SignupInvitation, new_invitation, new_token
from vyry.errors import NotFound
from vyry.operator.audit import record_action
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.peppers import current_pepper_id, list_peppers
from vyry.storage.raw_sql import fetch
from vyry.storage.sign_up_models import SignupInvitationRow
from vyry.storage.signup_invitations import add_invitation, invitation_from_row


async def create_invitation(
    peppers: Mapping[int, bytes], terms: InvitationTerms, act: OperatorAction
) -> tuple[SignupInvitation, str]:
    """Make an invitation; its token is returned this once. The line of the audit log has its id. Raises Unavailable."""
    prints = {pepper_id: fingerprint(secret) for pepper_id, secret in peppers.items()}
    in_use = current_pepper_id(prints, await list_peppers(), act.at)
    invitation = new_invitation(None, terms, act.at)
    named = replace(act, reason=": ".join(filter(None, (str(invitation.invitation_id), act.reason))))
    token = new_token(Pepper(peppers, min(peppers) if in_use is None else in_use))
    async with transaction() as tx:
        await add_invitation(tx, invitation, token)
        await record_action(tx, named)
    return invitation, token.text


async def list_invitations() -> Sequence[SignupInvitation]:
    """Every stored invitation, newest first, those of members too. Raises Unavailable."""
    async with database_guard():
        return [invitation_from_row(row) for row in await SignupInvitationRow.all().order_by("-created_at", "-id")]


async def revoke_invitation(invitation_id: UUID, act: OperatorAction) -> None:
    """Revoke an invitation, of a member too. Raises NotFound for one that is unknown or revoked, Unavailable."""
    revoke = "UPDATE signup_invitation SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id"
    async with transaction() as tx:
        if not await fetch(tx, revoke, invitation_id, act.at):
            raise NotFound
        await record_action(tx, act)


async def has_accounts() -> bool:
    """Whether the database has any account. Raises Unavailable."""
    async with database_guard():
        return bool(await fetch(connection(), "SELECT 1 FROM account LIMIT 1"))
