"""Links in PostgreSQL or SQLite.

Theory: a link is one row, and every step is one conditional UPDATE of it: the condition holds the status that must be, the expiry, and that the sessions of
the device that scanned still stand. Approving and completing count devices, so they hold the lock of the account's row first (account, then link).
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller, Platform
from vyry.accounts.events import AccountEvent
from vyry.adapters.account_events import note_event
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.new_devices import Place, add_device
from vyry.adapters.notices import Audience, Telling, enqueue
from vyry.adapters.prekeys import publish
from vyry.adapters.rows import LinkRow
from vyry.adapters.statements import fetch, to_moment, to_uuid
from vyry.devices.links import (
    Approval,
    Completion,
    Linked,
    LinkState,
    LinkStatus,
    NewLink,
    Scan,
    ScannedLink,
    Standing,
    next_number,
    refusal,
    shown,
)
from vyry.errors import AlreadyUsed, DeviceLimit, InvalidToken, NotFound
from vyry.ids import UserId


_STANDS: Final = """EXISTS (
        SELECT 1 FROM device d JOIN account a ON a.id = d.account_id
        WHERE d.id = link.approver AND d.ended_at IS NULL AND d.session_generation = link.approver_generation
          AND a.suspended_at IS NULL AND a.deleted_at IS NULL)"""
_LOOK: Final = f"""
    SELECT id, secret_hash, account_id, status, expires_at, approver_public_key, token_hash IS NOT NULL AS is_given, {_STANDS} AS stands
    FROM link WHERE id = ANY($1)"""
_TAKE: Final = f"""
    UPDATE link SET token_hash = $2 WHERE id = $1 AND status = 'approved' AND token_hash IS NULL AND expires_at > $3 AND {_STANDS}
    RETURNING provisioning"""
_GIVEN: Final = "UPDATE link SET provisioning = NULL WHERE id = $1"
_SCAN: Final = """
    UPDATE link SET status = 'scanned', account_id = $2, approver = $3, approver_generation = $4, approver_public_key = $5
    WHERE id = $1 AND status = 'waiting' AND expires_at > $6 RETURNING public_key, name, platform, requested_from, expires_at"""
_APPROVE: Final = f"""
    UPDATE link SET status = 'approved', provisioning = $4
    WHERE id = $1 AND account_id = $2 AND approver = $3 AND status = 'scanned' AND expires_at > $5 AND {_STANDS} RETURNING id"""
_REJECT: Final = """
    UPDATE link SET status = 'rejected', provisioning = NULL, token_hash = NULL
    WHERE id = $1 AND account_id = $2 AND status IN ('scanned', 'approved', 'rejected') AND expires_at > $3 RETURNING id"""
_BY_TOKEN: Final = f"SELECT status, account_id, expires_at, {_STANDS} AS stands FROM link WHERE token_hash = $1"
_COMPLETE: Final = f"""
    UPDATE link SET status = 'completed' WHERE token_hash = $1 AND status = 'approved' AND expires_at > $2 AND {_STANDS}
    RETURNING name, platform, approver"""
_WHY: Final = "SELECT account_id, approver, status, expires_at FROM link WHERE id = $1"
_LOCK_ACCOUNT: Final = """
    UPDATE account SET last_device_id = last_device_id WHERE id = $1 AND suspended_at IS NULL AND deleted_at IS NULL
    RETURNING last_device_id, display_name"""
_LIVE: Final = "SELECT device_id FROM device WHERE account_id = $1 AND ended_at IS NULL"
_NUMBERED: Final = "UPDATE account SET last_device_id = $2 WHERE id = $1"

Row = dict[str, Any]


class TortoiseLinks:
    """LinkStore."""

    async def open(self, link: NewLink) -> None:
        async with available():
            _ = await LinkRow.create(
                id=link.link_id,
                secret_hash=link.secret_hash,
                public_key=link.public_key,
                name=link.name,
                platform=link.platform.value,
                requested_from=link.requested_from,
                status=LinkStatus.WAITING.value,
                expires_at=link.expires_at,
            )

    async def look(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        async with available():
            found = await fetch(connection(), _LOOK, list(links))
        return {to_uuid(row["id"]): _state(row, now) for row in found}

    async def take(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        async with transaction() as inside:
            found = await fetch(inside, _TAKE, link_id, token_hash, now)
            if not found:
                return None
            await fetch(inside, _GIVEN, link_id)
        return bytes(found[0]["provisioning"])

    async def scan(self, scan: Scan) -> ScannedLink:
        by = scan.by
        async with transaction() as inside:
            taken = await fetch(
                inside, _SCAN, scan.link_id, by.user_id, by.device, by.generation, scan.public_key, scan.now
            )
            if not taken:
                raise refusal(await _standing(inside, scan.link_id), by, scan.now)
        row = taken[0]
        return ScannedLink(
            row["public_key"],
            row["name"],
            Platform(row["platform"]),
            row["requested_from"],
            to_moment(row["expires_at"]),
        )

    async def approve(self, approval: Approval) -> None:
        by, now = approval.by, approval.now
        async with transaction() as inside:
            if not await fetch(inside, _LOCK_ACCOUNT, by.user_id):
                raise NotFound
            step = (approval.link_id, by.user_id, by.device, approval.provisioning, now)
            if not await fetch(inside, _APPROVE, *step):
                raise refusal(await _standing(inside, approval.link_id), by, now, only_scanner=True)
            await _numbers(inside, by.user_id, approval.max_devices)

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        async with transaction() as inside:
            if not await fetch(inside, _REJECT, link_id, by.user_id, now):
                raise refusal(await _standing(inside, link_id), by, now)

    async def find(self, token_hash: str, now: datetime) -> UserId:
        async with available():
            return await _account_of(connection(), token_hash, now)

    async def complete(self, completion: Completion) -> Linked:
        now = completion.now
        # Which account is to be locked; all that decides is asked again under its lock.
        async with available():
            user_id = await _account_of(connection(), completion.token_hash, now)
        async with transaction() as inside:
            account = await fetch(inside, _LOCK_ACCOUNT, user_id)
            link = await fetch(inside, _COMPLETE, completion.token_hash, now) if account else []
            if not link:
                await _account_of(inside, completion.token_hash, now)
                raise InvalidToken
            live = await _numbers(inside, user_id, completion.max_devices)
            number = next_number(account[0]["last_device_id"], live)
            await fetch(inside, _NUMBERED, user_id, int(number))
            new = completion.new_device(link[0]["name"], Platform(link[0]["platform"]))
            caller = await add_device(inside, Place(user_id, number, is_primary=False), new, now)
            await publish(inside, caller, completion.upload, now)
            await _tell(inside, caller, link[0], now)
        return Linked(user_id, number, account[0]["display_name"] is not None)


def _state(row: Row, now: datetime) -> LinkState:
    status = shown(LinkStatus(row["status"]), to_moment(row["expires_at"]), now, stands=bool(row["stands"]))
    user_id = UserId(to_uuid(row["account_id"])) if row["account_id"] else None
    return LinkState(status, user_id, row["secret_hash"], row["approver_public_key"], bool(row["is_given"]))


async def _standing(inside: BaseDBAsyncClient, link_id: UUID) -> Standing | None:
    found = await fetch(inside, _WHY, link_id)
    if not found:
        return None
    row = found[0]
    return Standing(
        LinkStatus(row["status"]),
        UserId(to_uuid(row["account_id"])) if row["account_id"] else None,
        to_uuid(row["approver"]) if row["approver"] else None,
        to_moment(row["expires_at"]),
    )


async def _account_of(conn: BaseDBAsyncClient, token_hash: str, now: datetime) -> UserId:
    """Whose link this token completes. Raises AlreadyUsed, InvalidToken."""
    found = await fetch(conn, _BY_TOKEN, token_hash)
    if not found:
        raise InvalidToken
    status = shown(
        LinkStatus(found[0]["status"]), to_moment(found[0]["expires_at"]), now, stands=bool(found[0]["stands"])
    )
    if status is LinkStatus.COMPLETED:
        raise AlreadyUsed
    if status is not LinkStatus.APPROVED:
        raise InvalidToken
    return UserId(to_uuid(found[0]["account_id"]))


async def _numbers(inside: BaseDBAsyncClient, user_id: UserId, most: int) -> set[int]:
    """The numbers of the live devices, when there is room for one more. Raises DeviceLimit."""
    live = {row["device_id"] for row in await fetch(inside, _LIVE, user_id)}
    if len(live) >= most:
        raise DeviceLimit
    return live


async def _tell(inside: BaseDBAsyncClient, caller: Caller, link: Row, now: datetime) -> None:
    """The other devices of the account, and its owner's log. The peers were told when the keys were published."""
    body = {
        "name": "deviceLinked",
        "deviceId": int(caller.device_id),
        "deviceName": link["name"],
        "platform": link["platform"],
    }
    await enqueue(inside, Telling(caller.user_id, Audience.OWN, body, now, without=caller.mailbox))
    found = await fetch(inside, "SELECT device_id FROM device WHERE id = $1", link["approver"])
    detail = {"approvedBy": found[0]["device_id"], "platform": link["platform"]}
    await note_event(inside, AccountEvent(caller.user_id, "deviceLinked", now, int(caller.device_id), detail))
