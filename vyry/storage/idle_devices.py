"""Idle devices: linked devices that were not used for long. A partial index of linked devices finds them in the order in which they become idle."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import EndedDevice
from vyry.accounts.events import AccountEvent
from vyry.accounts.idle_devices import WARNING, IdleCutoffs
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import end_devices
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_date, to_uuid


#: SQLite uses the partial index only if the condition is written exactly as in the index.
FIND_UNWARNED: Final = """
    SELECT d.id, d.account_id FROM device d JOIN account a ON a.id = d.account_id
    WHERE d.is_primary = false AND d.ended_at IS NULL AND d.idle_warned_at IS NULL AND d.last_seen_on <= $1 AND a.suspended_at IS NULL
    LIMIT $2"""
FIND_WARNED: Final = """
    SELECT d.id, d.account_id FROM device d JOIN account a ON a.id = d.account_id
    WHERE d.is_primary = false AND d.ended_at IS NULL AND d.idle_warned_at <= $1 AND d.last_seen_on <= $2 AND a.suspended_at IS NULL
    LIMIT $3"""
_LOCK: Final = "UPDATE account SET created_at = created_at WHERE id = $1 AND suspended_at IS NULL RETURNING id"
_WARN: Final = """
    UPDATE device SET idle_warned_at = $2 WHERE id = $1 AND ended_at IS NULL AND idle_warned_at IS NULL AND last_seen_on <= $3
    RETURNING device_id, last_seen_on"""
_STILL_IDLE: Final = """
    SELECT id FROM device WHERE id = $1 AND ended_at IS NULL AND idle_warned_at <= $2 AND last_seen_on <= $3 FOR UPDATE"""


class TortoiseIdleDevices:
    """IdleStore on PostgreSQL or SQLite: each device in a transaction of its own."""

    async def warn(self, idle: IdleCutoffs, limit: int) -> int:
        async with database_guard():
            found = await fetch(connection(), FIND_UNWARNED, idle.warn_if_seen_by, limit)
        warned = 0
        for row in found:
            async with transaction() as tx:
                warned += await _warn_device(tx, to_uuid(row["account_id"]), to_uuid(row["id"]), idle)
        return warned

    async def end(self, idle: IdleCutoffs, limit: int) -> Sequence[EndedDevice]:
        warned_by, seen_by = idle.now - WARNING, idle.end_if_seen_by
        async with database_guard():
            found = await fetch(connection(), FIND_WARNED, warned_by, seen_by, limit)
        ended: list[EndedDevice] = []
        for row in found:
            account_id = to_uuid(row["account_id"])
            async with transaction() as tx:
                # The device may have been used or ended meanwhile, or the account suspended.
                if not await fetch(tx, _LOCK, account_id):
                    continue
                still = [to_uuid(each["id"]) for each in await fetch(tx, _STILL_IDLE, row["id"], warned_by, seen_by)]
                ended += await end_devices(tx, account_id, still, idle.now) if still else []
        return ended


async def _warn_device(tx: BaseDBAsyncClient, account_id: UUID, device: UUID, idle: IdleCutoffs) -> int:
    locked = await fetch(tx, _LOCK, account_id)
    found = locked and await fetch(tx, _WARN, device, idle.now, idle.warn_if_seen_by)
    for row in found:
        ends_on = idle.ends_on(to_date(row["last_seen_on"])).isoformat()
        body = {"name": "deviceIdle", "deviceId": row["device_id"], "endsOn": ends_on}
        await enqueue_notice(tx, NewNotice(account_id, Audience.OWN, body, idle.now))
        await record_event(tx, AccountEvent(account_id, "deviceIdle", idle.now, row["device_id"], {"endsOn": ends_on}))
    return len(found)
