"""Links of new devices.

Theory: a link is one row, and every step is one conditional UPDATE: its condition checks the status, the expiry, and that the sessions of the approver are
still valid. Approving and completing count devices, so they lock the account first (account, then link).
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller, Platform
from vyry.accounts.events import AccountEvent
from vyry.devices.links import (
    Approval,
    Completion,
    LinkedDevice,
    LinkRecord,
    LinkState,
    LinkStatus,
    NewLink,
    Scan,
    ScannedLink,
    next_device_id,
    step_error,
    visible_status,
)
from vyry.errors import AlreadyUsed, DeviceLimit, InvalidToken, NotFound
from vyry.kernel.ids import UserId
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import DeviceAssignment, add_device
from vyry.storage.models import LinkRow
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.prekeys import publish_keys
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


_IS_APPROVER_VALID: Final = """EXISTS (
        SELECT 1 FROM device d JOIN account a ON a.id = d.account_id
        WHERE d.id = link.approver AND d.ended_at IS NULL AND d.session_generation = link.approver_generation
          AND a.suspended_at IS NULL AND a.deleted_at IS NULL)"""
_LOAD_STATES: Final = f"""
    SELECT id, secret_hash, account_id, status, expires_at, approver_public_key, token_hash IS NOT NULL AS is_given, {_IS_APPROVER_VALID} AS stands
    FROM link WHERE id = ANY($1)"""
_CLAIM: Final = f"""
    UPDATE link SET token_hash = $2 WHERE id = $1 AND status = 'approved' AND token_hash IS NULL AND expires_at > $3 AND {_IS_APPROVER_VALID}
    RETURNING provisioning"""
_CLEAR_PROVISIONING: Final = "UPDATE link SET provisioning = NULL WHERE id = $1"
_SCAN: Final = """
    UPDATE link SET status = 'scanned', account_id = $2, approver = $3, approver_generation = $4, approver_public_key = $5
    WHERE id = $1 AND status = 'waiting' AND expires_at > $6 RETURNING public_key, name, platform, requested_from, expires_at"""
_APPROVE: Final = f"""
    UPDATE link SET status = 'approved', provisioning = $4
    WHERE id = $1 AND account_id = $2 AND approver = $3 AND status = 'scanned' AND expires_at > $5 AND {_IS_APPROVER_VALID} RETURNING id"""
_REJECT: Final = """
    UPDATE link SET status = 'rejected', provisioning = NULL, token_hash = NULL
    WHERE id = $1 AND account_id = $2 AND status IN ('scanned', 'approved', 'rejected') AND expires_at > $3 RETURNING id"""
_BY_TOKEN: Final = (
    f"SELECT status, account_id, expires_at, {_IS_APPROVER_VALID} AS stands FROM link WHERE token_hash = $1"
)
_COMPLETE: Final = f"""
    UPDATE link SET status = 'completed' WHERE token_hash = $1 AND status = 'approved' AND expires_at > $2 AND {_IS_APPROVER_VALID}
    RETURNING name, platform, approver"""
_LOAD_FOR_REFUSAL: Final = "SELECT account_id, approver, status, expires_at FROM link WHERE id = $1"
_LOCK_ACCOUNT: Final = """
    UPDATE account SET last_device_id = last_device_id WHERE id = $1 AND suspended_at IS NULL AND deleted_at IS NULL
    RETURNING last_device_id, display_name"""
_LIVE: Final = "SELECT device_id FROM device WHERE account_id = $1 AND ended_at IS NULL"
_SET_LAST_DEVICE_ID: Final = "UPDATE account SET last_device_id = $2 WHERE id = $1"

Row = dict[str, Any]


class TortoiseLinks:
    """LinkStore on PostgreSQL or SQLite."""

    async def create(self, link: NewLink) -> None:
        async with database_guard():
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

    async def load_states(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        async with database_guard():
            found = await fetch(connection(), _LOAD_STATES, list(links))
        return {to_uuid(row["id"]): _state_from_row(row, now) for row in found}

    async def claim_provisioning(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        async with transaction() as tx:
            found = await fetch(tx, _CLAIM, link_id, token_hash, now)
            if not found:
                return None
            await fetch(tx, _CLEAR_PROVISIONING, link_id)
        return bytes(found[0]["provisioning"])

    async def scan(self, scan: Scan) -> ScannedLink:
        by = scan.caller
        async with transaction() as tx:
            taken = await fetch(
                tx, _SCAN, scan.link_id, by.user_id, by.device, by.generation, scan.public_key, scan.now
            )
            if not taken:
                raise step_error(await _load_for_refusal(tx, scan.link_id), by, scan.now)
        row = taken[0]
        return ScannedLink(
            row["public_key"],
            row["name"],
            Platform(row["platform"]),
            row["requested_from"],
            to_datetime(row["expires_at"]),
        )

    async def approve(self, approval: Approval) -> None:
        by, now = approval.caller, approval.now
        async with transaction() as tx:
            if not await fetch(tx, _LOCK_ACCOUNT, by.user_id):
                raise NotFound
            step = (approval.link_id, by.user_id, by.device, approval.provisioning, now)
            if not await fetch(tx, _APPROVE, *step):
                raise step_error(await _load_for_refusal(tx, approval.link_id), by, now, only_scanner=True)
            await _live_device_ids(tx, by.user_id, approval.max_devices)

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        async with transaction() as tx:
            if not await fetch(tx, _REJECT, link_id, by.user_id, now):
                raise step_error(await _load_for_refusal(tx, link_id), by, now)

    async def find_account(self, token_hash: str, now: datetime) -> UserId:
        async with database_guard():
            return await _find_account(connection(), token_hash, now)

    async def complete(self, completion: Completion) -> LinkedDevice:
        now = completion.now
        # Only to know which account to lock; everything is checked again under the lock.
        async with database_guard():
            user_id = await _find_account(connection(), completion.token_hash, now)
        async with transaction() as tx:
            account = await fetch(tx, _LOCK_ACCOUNT, user_id)
            link = await fetch(tx, _COMPLETE, completion.token_hash, now) if account else []
            if not link:
                await _find_account(tx, completion.token_hash, now)
                raise InvalidToken
            live = await _live_device_ids(tx, user_id, completion.max_devices)
            number = next_device_id(account[0]["last_device_id"], live)
            await fetch(tx, _SET_LAST_DEVICE_ID, user_id, int(number))
            new = completion.new_device(link[0]["name"], Platform(link[0]["platform"]))
            caller = await add_device(tx, DeviceAssignment(user_id, number, is_primary=False), new, now)
            await publish_keys(tx, caller, completion.upload, now)
            await _enqueue_device_linked(tx, caller, link[0], now)
        return LinkedDevice(user_id, number, account[0]["display_name"] is not None)


def _state_from_row(row: Row, now: datetime) -> LinkState:
    status = visible_status(
        LinkStatus(row["status"]), to_datetime(row["expires_at"]), now, is_session_live=bool(row["stands"])
    )
    user_id = UserId(to_uuid(row["account_id"])) if row["account_id"] else None
    return LinkState(status, user_id, row["secret_hash"], row["approver_public_key"], bool(row["is_given"]))


async def _load_for_refusal(tx: BaseDBAsyncClient, link_id: UUID) -> LinkRecord | None:
    found = await fetch(tx, _LOAD_FOR_REFUSAL, link_id)
    if not found:
        return None
    row = found[0]
    return LinkRecord(
        LinkStatus(row["status"]),
        UserId(to_uuid(row["account_id"])) if row["account_id"] else None,
        to_uuid(row["approver"]) if row["approver"] else None,
        to_datetime(row["expires_at"]),
    )


async def _find_account(tx: BaseDBAsyncClient, token_hash: str, now: datetime) -> UserId:
    """The account of the link that this token completes. Raises AlreadyUsed, InvalidToken."""
    found = await fetch(tx, _BY_TOKEN, token_hash)
    if not found:
        raise InvalidToken
    status = visible_status(
        LinkStatus(found[0]["status"]),
        to_datetime(found[0]["expires_at"]),
        now,
        is_session_live=bool(found[0]["stands"]),
    )
    if status is LinkStatus.COMPLETED:
        raise AlreadyUsed
    if status is not LinkStatus.APPROVED:
        raise InvalidToken
    return UserId(to_uuid(found[0]["account_id"]))


async def _live_device_ids(tx: BaseDBAsyncClient, user_id: UserId, most: int) -> set[int]:
    """The numbers of the live devices. Raises DeviceLimit if there may be no further one."""
    live = {row["device_id"] for row in await fetch(tx, _LIVE, user_id)}
    if len(live) >= most:
        raise DeviceLimit
    return live


async def _enqueue_device_linked(tx: BaseDBAsyncClient, caller: Caller, link: Row, now: datetime) -> None:
    """Notify the other devices of the account and add the event. The peers were notified when the keys were published."""
    body = {
        "name": "deviceLinked",
        "deviceId": int(caller.device_id),
        "deviceName": link["name"],
        "platform": link["platform"],
    }
    await enqueue_notice(tx, NewNotice(caller.user_id, Audience.OWN, body, now, excluded_mailbox=caller.mailbox))
    found = await fetch(tx, "SELECT device_id FROM device WHERE id = $1", link["approver"])
    detail = {"approvedBy": found[0]["device_id"], "platform": link["platform"]}
    await record_event(tx, AccountEvent(caller.user_id, "deviceLinked", now, int(caller.device_id), detail))
