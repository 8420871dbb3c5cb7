"""What operators see of accounts, and what they do to them. An action and its line in the log are one transaction; `find_account` is not logged."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import EndedDevice
from vyry.accounts.events import AccountEvent, EventName, OperatorAction
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.errors import NotFound
from vyry.kernel.ids import UserId
from vyry.operator.audit import record_action
from vyry.storage.account_deletion import delete_account
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import end_devices
from vyry.storage.locks import lock_account
from vyry.storage.raw_sql import fetch, to_date, to_datetime, to_optional_datetime, to_uuid


_PAGE: Final = 200
_SUSPEND: Final = "UPDATE account SET suspended_at = $2 WHERE id = $1 AND suspended_at IS NULL RETURNING id"
_RESUME: Final = "UPDATE account SET suspended_at = NULL WHERE id = $1 AND suspended_at IS NOT NULL RETURNING id"
_UNWARN: Final = "UPDATE device SET idle_warned_at = NULL WHERE account_id = $1 AND ended_at IS NULL"
_BY_ID: Final = "SELECT id FROM account WHERE id = $1 AND deleted_at IS NULL"
_BY_USERNAME: Final = "SELECT id FROM account WHERE username = $1 AND deleted_at IS NULL"
_BY_NUMBER: Final = "SELECT id FROM account WHERE phone_hash = ANY($1) AND deleted_at IS NULL"
_LIVE: Final = "SELECT id FROM device WHERE account_id = $1 AND ended_at IS NULL"
_ACCOUNT: Final = """
    SELECT a.id, a.username, a.display_name, a.phone_sealed, a.created_at, a.suspended_at, p.registration_lock, p.locked_until,
        CASE WHEN p.account_id IS NULL THEN 0 ELSE 1 END AS has_pin
    FROM account a LEFT JOIN account_pin p ON p.account_id = a.id WHERE a.id = $1 AND a.deleted_at IS NULL"""
_DEVICES: Final = """
    SELECT d.device_id, d.name, d.platform, d.is_primary, d.linked_at, d.last_seen_on, m.mail_entries + m.control_entries AS waiting
    FROM device d JOIN mailbox m ON m.id = d.mailbox WHERE d.account_id = $1 AND d.ended_at IS NULL ORDER BY d.device_id"""
_LIST: Final = """
    SELECT a.id, a.username, a.created_at, a.suspended_at,
        (SELECT count(*) FROM device d WHERE d.account_id = a.id AND d.ended_at IS NULL) AS devices,
        (SELECT max(d.last_seen_on) FROM device d WHERE d.account_id = a.id) AS last_seen_on
    FROM account a WHERE a.deleted_at IS NULL AND a.id > $1 ORDER BY a.id LIMIT $2"""
_BEFORE_ALL: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class DeviceDetails:
    """A live device as operators see it; `waiting` counts the entries in its mailbox."""

    device_id: int
    name: str
    platform: str
    is_primary: bool
    linked_at: datetime
    last_seen_on: date
    waiting: int


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """An account as operators see it: no content, and the phone number as its owner sees it."""

    user_id: UUID
    username: str | None
    display_name: str | None
    #: None if the pepper is not given.
    phone_number: PhoneNumber | None
    created_at: datetime
    suspended_at: datetime | None
    has_pin: bool
    has_registration_lock: bool
    pin_locked_until: datetime | None
    devices: Sequence[DeviceDetails]


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """One line of the list of accounts."""

    user_id: UUID
    username: str | None
    created_at: datetime
    suspended_at: datetime | None
    devices: int
    last_seen_on: date | None


async def find_account(identifier: UUID | PhoneNumber | str, pepper: Pepper | None) -> UserId:
    """The account with this id, number or username; a number needs the pepper. Raises NotFound, Unavailable."""
    value: object = identifier
    match identifier:
        case UUID():
            sql = _BY_ID
        case PhoneNumber():
            sql, value = _BY_NUMBER, list(pepper.hide(identifier).hashes.values()) if pepper else []
        case _:
            sql, value = _BY_USERNAME, identifier.lower()
    async with database_guard():
        found = await fetch(connection(), sql, value)
    if not found:
        raise NotFound
    return UserId(to_uuid(found[0]["id"]))


async def load_account(user_id: UserId, pepper: Pepper | None, act: OperatorAction) -> AccountDetails:
    """The account; logs that the operator looked at it. Raises NotFound."""
    async with transaction() as tx:
        await record_action(tx, act)
        found = await fetch(tx, _ACCOUNT, user_id)
        if not found:
            raise NotFound
        devices = [_device(row) for row in await fetch(tx, _DEVICES, user_id)]
    row = found[0]
    return AccountDetails(
        user_id,
        row["username"],
        row["display_name"],
        pepper.unseal(row["phone_sealed"]) if pepper and row["phone_sealed"] else None,
        to_datetime(row["created_at"]),
        to_optional_datetime(row["suspended_at"]),
        bool(row["has_pin"]),
        bool(row["registration_lock"]),
        to_optional_datetime(row["locked_until"]),
        devices,
    )


async def list_accounts(act: OperatorAction) -> AsyncIterator[AccountSummary]:
    """All accounts, oldest first; loads a page at a time. The listing is logged before the first page, in a transaction of its own."""
    async with transaction() as tx:
        await record_action(tx, act)
    after = _BEFORE_ALL
    while True:
        async with database_guard():
            page = await fetch(connection(), _LIST, after, _PAGE)
        for row in page:
            yield _summary_from_row(row)
        if len(page) < _PAGE:
            return
        after = to_uuid(page[-1]["id"])


async def record_number_shown(user_id: UserId, act: OperatorAction) -> None:
    """Log, also for the owner, that the operator saw the whole number. Raises NotFound."""
    async with transaction() as tx:
        await _lock_account(tx, user_id)
        await _record_action(tx, user_id, "numberShown", act)


async def suspend_account(user_id: UserId, act: OperatorAction) -> bool:
    """Refuse all tokens of the account until it is resumed; returns False if it is suspended already. Raises NotFound."""
    async with transaction() as tx:
        await _lock_account(tx, user_id)
        if not await fetch(tx, _SUSPEND, user_id, act.at):
            return False
        await _record_action(tx, user_id, "suspended", act)
    return True


async def resume_account(user_id: UserId, act: OperatorAction) -> bool:
    """End the suspension; returns False if there is none. Raises NotFound."""
    async with transaction() as tx:
        await _lock_account(tx, user_id)
        if not await fetch(tx, _RESUME, user_id):
            return False
        # Its devices could not be used meanwhile, so the warning about idle devices starts again.
        await fetch(tx, _UNWARN, user_id)
        await _record_action(tx, user_id, "resumed", act)
    return True


async def end_all_devices(user_id: UserId, act: OperatorAction) -> Sequence[EndedDevice]:
    """End all devices of the account: its owner must sign up again. Returns the devices that ended. Raises NotFound."""
    async with transaction() as tx:
        await _lock_account(tx, user_id)
        live = [to_uuid(row["id"]) for row in await fetch(tx, _LIVE, user_id)]
        ended = await end_devices(tx, user_id, live, act.at)
        await record_action(tx, act)
    return ended


async def delete_account_as_operator(user_id: UserId, pepper: Pepper | None, act: OperatorAction) -> None:
    """Delete the account as its owner would. Raises NotFound."""
    async with transaction() as tx:
        sealed = await _lock_account(tx, user_id)
        hashes: Collection[str] = pepper.hide(pepper.unseal(sealed)).hashes.values() if pepper and sealed else ()
        await delete_account(tx, user_id, hashes, act.at)
        await record_action(tx, act)


async def _record_action(tx: BaseDBAsyncClient, user_id: UserId, name: EventName, act: OperatorAction) -> None:
    await record_event(tx, AccountEvent(user_id, name, act.at))
    await record_action(tx, act)


async def _lock_account(tx: BaseDBAsyncClient, user_id: UserId) -> bytes:
    """Lock the account; returns its sealed phone number, empty if it has none. Raises NotFound."""
    account = await lock_account(tx, user_id)
    if account is None:
        raise NotFound
    return bytes(account["phone_sealed"])


def _device(row: dict[str, Any]) -> DeviceDetails:
    return DeviceDetails(
        row["device_id"],
        row["name"],
        row["platform"],
        bool(row["is_primary"]),
        to_datetime(row["linked_at"]),
        to_date(row["last_seen_on"]),
        row["waiting"],
    )


def _summary_from_row(row: dict[str, Any]) -> AccountSummary:
    last_seen_on = None if row["last_seen_on"] is None else to_date(row["last_seen_on"])
    moments = to_datetime(row["created_at"]), to_optional_datetime(row["suspended_at"])
    return AccountSummary(to_uuid(row["id"]), row["username"], *moments, row["devices"], last_seen_on)
