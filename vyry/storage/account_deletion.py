"""Deletion of accounts.

Theory: `delete` leaves a row of the account without number and name, its ended devices, and the rows that belong to them. `erase` deletes the rest in steps,
each a transaction that locks the account first, so that the sweepers of several workers take turns. It can continue after any step. The row of the account
is deleted last, so that no remainder is forgotten. Peers are found through the memberships, which stay until no notice of the account waits.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import EndedDevice
from vyry.accounts.deletion import ERASE_DELAY
from vyry.accounts.usernames import UsernameRules
from vyry.errors import NotFound
from vyry.kernel.ids import MailboxKey, UserId
from vyry.storage.accounts import reserve_username
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import delete_mail, end_devices
from vyry.storage.locks import lock_account
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_conversation_changed, enqueue_notice
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


#: Accounts of one call of `erase`; devices or conversations of one step.
_ACCOUNTS: Final = 100
_ROWS_PER_STEP: Final = 50

_ANONYMIZE: Final = """
    UPDATE account SET deleted_at = $2, phone_hash = $3, phone_sealed = $4, username = NULL, display_name = NULL, bio = NULL,
        picture_attachment_id = NULL, sealed_profile = NULL, settings = '{}', suite = NULL, identity_key = NULL
    WHERE id = $1"""
_LIVE: Final = "SELECT id FROM device WHERE account_id = $1 AND ended_at IS NULL"
#: Codes that were sent still count against the limits of networks and prefixes and the daily cost, without the number.
_FORGET_NUMBER: Final = (
    "DELETE FROM otp_challenge WHERE phone_hash = ANY($1)",
    "UPDATE otp_sent SET phone_hash = '' WHERE phone_hash = ANY($1)",
    "DELETE FROM proven_network WHERE phone_hash = ANY($1)",
)
_FORGET_ACCOUNT: Final = (
    "DELETE FROM account_pin WHERE account_id = $1",
    "DELETE FROM registration WHERE account_id = $1",
    "DELETE FROM recovery_code WHERE account_id = $1",
    "DELETE FROM signup_attempt WHERE account_id = $1",
    "DELETE FROM signup_invitation WHERE account_id = $1",
    "DELETE FROM link WHERE account_id = $1",
    "DELETE FROM friend WHERE account_id = $1 OR friend_id = $1",
    "DELETE FROM friend_request WHERE account_id = $1 OR to_id = $1",
    "DELETE FROM invite WHERE account_id = $1",
    "DELETE FROM group_invitation WHERE account_id = $1 OR to_id = $1",
    # These rows are deleted with their bytes (vyry/attachments/service.py).
    "UPDATE attachment SET account_id = NULL, expires_at = created_at WHERE account_id = $1",
    "DELETE FROM call WHERE account_id = $1 OR to_id = $1",
    "UPDATE resting_name SET account_id = NULL WHERE account_id = $1",
)
_DELETED: Final = "SELECT id FROM account WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT $1"
_LOCK_DELETED: Final = (
    "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NOT NULL RETURNING deleted_at"
)
_MAILBOXES: Final = "SELECT mailbox FROM device WHERE account_id = $1"
_MESSAGES: Final = """
    DELETE FROM message WHERE (sender, message_id) IN (
        SELECT sender, message_id FROM message WHERE sender IN (SELECT mailbox FROM device WHERE account_id = $1) LIMIT $2) RETURNING 1"""
#: On PostgreSQL `fate` has no primary key: rows are addressed by ctid.
_FATES: Final = {
    "postgres": """
    DELETE FROM fate WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM fate WHERE mailbox IN (SELECT mailbox FROM device WHERE account_id = $1) LIMIT $2)) RETURNING 1""",
    "sqlite": """
    DELETE FROM fate WHERE id IN (
        SELECT id FROM fate WHERE mailbox IN (SELECT mailbox FROM device WHERE account_id = $1) LIMIT $2) RETURNING 1""",
}
_EVENTS: Final = """
    DELETE FROM account_event WHERE id IN (SELECT id FROM account_event WHERE account_id = $1 LIMIT $2) RETURNING 1"""
_HAS_NO_NOTICES: Final = (
    "SELECT 1 FROM account WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM notice WHERE account_id = $1)"
)
_CONVERSATIONS: Final = """
    SELECT id FROM conversation WHERE id IN (SELECT conversation_id FROM member WHERE account_id = $1 LIMIT $2) ORDER BY id FOR UPDATE"""
#: Blocks decide who gets notices, so they stay as long as the memberships.
_UNBLOCK: Final = "DELETE FROM block WHERE account_id = $1 OR blocked_id = $1"
_RAISE: Final = "UPDATE conversation SET version = version + 1 WHERE id = ANY($1)"
_LEAVE: Final = """
    DELETE FROM member WHERE conversation_id = ANY($2)
        AND (account_id = $1 OR conversation_id IN (SELECT id FROM conversation WHERE id = ANY($2) AND kind = 'direct')) RETURNING 1"""
#: A group without an admin gets the member who joined first as admin.
_PROMOTE_ADMIN: Final = """
    UPDATE member SET role = 'admin' WHERE id IN (
        SELECT (SELECT x.id FROM member x WHERE x.conversation_id = c.id ORDER BY x.joined_at, x.id LIMIT 1)
        FROM conversation c WHERE c.id = ANY($1) AND c.kind = 'group'
            AND NOT EXISTS (SELECT 1 FROM member y WHERE y.conversation_id = c.id AND y.role = 'admin'))"""
_CLOSE_INVITES: Final = tuple(
    f"DELETE FROM {table} WHERE conversation_id = ANY($1) AND NOT EXISTS (SELECT 1 FROM conversation c WHERE c.id = {table}.conversation_id)"  # nosemgrep: sql-only-from-constants - names of this module
    for table in ("invite", "group_invitation")
)
_REMAINING: Final = "SELECT id, version FROM conversation WHERE id = ANY($1) ORDER BY id"
_CLOSE: Final = """
    DELETE FROM conversation WHERE id = ANY($1) AND NOT EXISTS (SELECT 1 FROM member m WHERE m.conversation_id = conversation.id) RETURNING 1"""
_DEVICES: Final = """
    DELETE FROM device WHERE id IN (SELECT id FROM device WHERE account_id = $1 ORDER BY id LIMIT $2) RETURNING id, mailbox"""


class TortoiseDeletion:
    """DeletionStore."""

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:
        async with transaction() as tx:
            return await delete_account(tx, user_id, numbers, now)

    async def erase(self, now: datetime, limit: int) -> int:
        async with database_guard():
            deleted = [to_uuid(row["id"]) for row in await fetch(connection(), _DELETED, _ACCOUNTS)]
        gone = 0
        for account_id in deleted:
            while gone < limit and (went := await _erase_step(account_id, now, limit - gone)):
                gone += went
        return gone


async def delete_account(
    tx: BaseDBAsyncClient, user_id: UserId, numbers: Collection[str], now: datetime
) -> Sequence[EndedDevice]:
    """DeletionStore.delete in the transaction of the caller."""
    account = await lock_account(tx, user_id)
    if account is None:
        raise NotFound
    live = [to_uuid(row["id"]) for row in await fetch(tx, _LIVE, user_id)]
    ended = await end_devices(tx, user_id, live, now)
    body = {"name": "accountDeleted", "userId": str(user_id)}
    await enqueue_notice(tx, NewNotice(user_id, Audience.PEERS, body, now))
    for statement in _FORGET_NUMBER:
        await fetch(tx, statement, sorted({account["phone_hash"], *numbers}))
    for statement in _FORGET_ACCOUNT:
        await fetch(tx, statement, user_id)
    # The column is unique and not null; this value is no hash of a number.
    await fetch(tx, _ANONYMIZE, user_id, now, f"deleted:{user_id.hex}", b"")
    if account["username"] is not None:
        await reserve_username(tx, account["username"], None, UsernameRules(now).released_on)
    return ended


@dataclass(frozen=True, slots=True)
class _Remainder:
    """A deleted account, and how many of its rows may be deleted now."""

    account_id: UUID
    limit: int
    is_past_grace: bool
    now: datetime


async def _erase_step(account_id: UUID, now: datetime, limit: int) -> int:
    """Delete rows of the first kind that is left. Returns 0 when none is left, or none may be deleted yet."""
    async with transaction() as tx:
        locked = await fetch(tx, _LOCK_DELETED, account_id)
        if not locked:
            return 0
        left = _Remainder(account_id, limit, now >= to_datetime(locked[0]["deleted_at"]) + ERASE_DELAY, now)
        for step in (_erase_outcomes, _erase_memberships, _erase_devices):
            if went := await step(tx, left):
                return went
        return 0


async def _erase_outcomes(tx: BaseDBAsyncClient, left: _Remainder) -> int:
    for statement in (_MESSAGES, _FATES[tx.capabilities.dialect], _EVENTS):
        if gone := await fetch(tx, statement, left.account_id, left.limit):
            return len(gone)
    return 0


async def _erase_memberships(tx: BaseDBAsyncClient, left: _Remainder) -> int:
    """Leave groups, and close direct conversations for both members. The other members of groups get a notice."""
    if not await fetch(tx, _HAS_NO_NOTICES, left.account_id):
        return 0
    await fetch(tx, _UNBLOCK, left.account_id)
    ids = [to_uuid(row["id"]) for row in await fetch(tx, _CONVERSATIONS, left.account_id, _ROWS_PER_STEP)]
    await fetch(tx, _RAISE, ids)
    gone = len(await fetch(tx, _LEAVE, left.account_id, ids))
    await fetch(tx, _PROMOTE_ADMIN, ids)
    gone += len(await fetch(tx, _CLOSE, ids))
    for statement in _CLOSE_INVITES:
        await fetch(tx, statement, ids)
    for row in await fetch(tx, _REMAINING, ids):
        await enqueue_conversation_changed(tx, (to_uuid(row["id"]), row["version"]), (), left.now)
    return gone


async def _erase_devices(tx: BaseDBAsyncClient, left: _Remainder) -> int:
    """Delete mailboxes with mail that arrived last, devices, and finally the account, once no mail can arrive."""
    if not left.is_past_grace or not await fetch(tx, _HAS_NO_NOTICES, left.account_id):
        return 0
    devices = await fetch(tx, _DEVICES, left.account_id, _ROWS_PER_STEP)
    for mailbox in sorted(MailboxKey(row["mailbox"]) for row in devices):
        await fetch(tx, "UPDATE mailbox SET is_ended = TRUE WHERE id = $1", mailbox)
        await delete_mail(tx, mailbox)
        await fetch(tx, "DELETE FROM mailbox WHERE id = $1", mailbox)
    await fetch(tx, "DELETE FROM ending WHERE device = ANY($1)", [to_uuid(row["id"]) for row in devices])
    if not devices:
        await fetch(tx, "DELETE FROM ending WHERE account_id = $1", left.account_id)
        await fetch(tx, "DELETE FROM account WHERE id = $1", left.account_id)
    return len(devices) or 1
