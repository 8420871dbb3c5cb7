"""What operators see of accounts and do to them, straight in the database: each act in one transaction with its line in the log."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import EndedDevice
from vyry.accounts.acts import OperatorAct
from vyry.accounts.events import AccountEvent, EventName
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.adapters.account_events import note_event
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.deleting import bury
from vyry.adapters.devices import end_devices
from vyry.adapters.operator_acts import note_act
from vyry.adapters.statements import fetch, to_day, to_moment, to_uuid
from vyry.errors import NotFound
from vyry.ids import UserId


_PAGE: Final = 200
_LOCK: Final = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING phone_sealed"
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
class ShownDevice:
    """A live device as operators see it. `waiting` counts the entries in its mailbox."""

    device_id: int
    name: str
    platform: str
    is_primary: bool
    linked_at: datetime
    last_seen_on: date
    waiting: int


@dataclass(frozen=True, slots=True)
class ShownAccount:
    """An account as operators see it: nothing that it wrote, and of its number no more than its owner is shown."""

    user_id: UUID
    username: str | None
    display_name: str | None
    #: None without the pepper.
    phone_number: PhoneNumber | None
    created_at: datetime
    suspended_at: datetime | None
    has_pin: bool
    has_registration_lock: bool
    pin_locked_until: datetime | None
    devices: Sequence[ShownDevice]


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """One account of all."""

    user_id: UUID
    username: str | None
    created_at: datetime
    suspended_at: datetime | None
    devices: int
    last_seen_on: date | None


async def find(named: UUID | PhoneNumber | str, pepper: Pepper | None) -> UserId:
    """The account with this id, number or username. A number is found with the pepper only. Raises NotFound, Unavailable."""
    value: object = named
    match named:
        case UUID():
            sql = _BY_ID
        case PhoneNumber():
            sql, value = _BY_NUMBER, list(pepper.hide(named).hashes.values()) if pepper else []
        case _:
            sql, value = _BY_USERNAME, named.lower()
    async with available():
        found = await fetch(connection(), sql, value)
    if not found:
        raise NotFound
    return UserId(to_uuid(found[0]["id"]))


async def show(user_id: UserId, pepper: Pepper | None, act: OperatorAct) -> ShownAccount:
    """The account; that it was looked at is noted. Raises NotFound."""
    async with transaction() as inside:
        await note_act(inside, act)
        found = await fetch(inside, _ACCOUNT, user_id)
        if not found:
            raise NotFound
        devices = [_device(row) for row in await fetch(inside, _DEVICES, user_id)]
    row = found[0]
    return ShownAccount(
        user_id,
        row["username"],
        row["display_name"],
        pepper.unseal(row["phone_sealed"]) if pepper else None,
        to_moment(row["created_at"]),
        _moment(row["suspended_at"]),
        bool(row["has_pin"]),
        bool(row["registration_lock"]),
        _moment(row["locked_until"]),
        devices,
    )


async def every_account(act: OperatorAct) -> AsyncIterator[ListedAccount]:
    """All accounts, oldest first, a page at a time; that they were listed is noted."""
    async with transaction() as inside:
        await note_act(inside, act)
    after = _BEFORE_ALL
    while True:
        async with available():
            page = await fetch(connection(), _LIST, after, _PAGE)
        for row in page:
            yield _listed(row)
        if len(page) < _PAGE:
            return
        after = to_uuid(page[-1]["id"])


async def tell_number_shown(user_id: UserId, act: OperatorAct) -> None:
    """Note, also for the owner, that the number was looked at in full."""
    async with transaction() as inside:
        await _lock(inside, user_id)
        await _note(inside, user_id, "numberShown", act)


async def suspend(user_id: UserId, act: OperatorAct) -> bool:
    """Let no token of the account be good until it is resumed; False if it is suspended already. Raises NotFound."""
    async with transaction() as inside:
        await _lock(inside, user_id)
        if not await fetch(inside, _SUSPEND, user_id, act.at):
            return False
        await _note(inside, user_id, "suspended", act)
    return True


async def resume(user_id: UserId, act: OperatorAct) -> bool:
    """Let it go on as if nothing had been; False if it is not suspended. Raises NotFound."""
    async with transaction() as inside:
        await _lock(inside, user_id)
        if not await fetch(inside, _RESUME, user_id):
            return False
        # Its devices could not be used meanwhile: who was warned of it gets another week.
        await fetch(inside, _UNWARN, user_id)
        await _note(inside, user_id, "resumed", act)
    return True


async def end_all_devices(user_id: UserId, act: OperatorAct) -> Sequence[EndedDevice]:
    """End all devices of the account: its owner signs up again. Answers those that ended. Raises NotFound."""
    async with transaction() as inside:
        await _lock(inside, user_id)
        live = [to_uuid(row["id"]) for row in await fetch(inside, _LIVE, user_id)]
        ended = await end_devices(inside, user_id, live, act.at)
        await note_act(inside, act)
    return ended


async def delete(user_id: UserId, pepper: Pepper | None, act: OperatorAct) -> None:
    """Delete the account as its owner would: the sweeper clears away the rest. Raises NotFound."""
    async with transaction() as inside:
        sealed = await _lock(inside, user_id)
        hashes: Collection[str] = pepper.hide(pepper.unseal(sealed)).hashes.values() if pepper else ()
        await bury(inside, user_id, hashes, act.at)
        await note_act(inside, act)


async def _note(inside: BaseDBAsyncClient, user_id: UserId, name: EventName, act: OperatorAct) -> None:
    """For the owner, and for the log."""
    await note_event(inside, AccountEvent(user_id, name, act.at))
    await note_act(inside, act)


async def _lock(inside: BaseDBAsyncClient, user_id: UserId) -> bytes:
    """Lock the account; answers its sealed number. Raises NotFound."""
    found = await fetch(inside, _LOCK, user_id)
    if not found:
        raise NotFound
    return bytes(found[0]["phone_sealed"])


def _device(row: dict[str, Any]) -> ShownDevice:
    return ShownDevice(
        row["device_id"],
        row["name"],
        row["platform"],
        bool(row["is_primary"]),
        to_moment(row["linked_at"]),
        to_day(row["last_seen_on"]),
        row["waiting"],
    )


def _listed(row: dict[str, Any]) -> ListedAccount:
    last_seen_on = None if row["last_seen_on"] is None else to_day(row["last_seen_on"])
    moments = to_moment(row["created_at"]), _moment(row["suspended_at"])
    return ListedAccount(to_uuid(row["id"]), row["username"], *moments, row["devices"], last_seen_on)


def _moment(value: Any) -> datetime | None:
    return None if value is None else to_moment(value)
