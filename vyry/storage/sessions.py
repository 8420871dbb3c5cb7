"""Refresh tokens, and the status of devices."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.expressions import F

from vyry.accounts.account import EndedDevice
from vyry.accounts.device_status import DeviceStatus, Revocation
from vyry.accounts.events import AccountEvent
from vyry.accounts.sessions import Reused, Rotated, Rotation, RotationOutcome
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import DeviceRow, RefreshTokenRow, RevocationRow
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_date, to_datetime, to_uuid


class TortoiseSessions:
    """SessionStore and DeviceStatusStore on PostgreSQL or SQLite."""

    async def load_statuses(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        sql = (
            "SELECT d.id, d.account_id, d.device_id, d.mailbox, d.mailbox_id, d.is_primary, d.session_generation, d.last_seen_on"
            " FROM device d JOIN account a ON a.id = d.account_id"
            " WHERE d.ended_at IS NULL AND a.suspended_at IS NULL AND a.deleted_at IS NULL AND d.id = ANY($1)"
        )
        async with database_guard():
            found = [_status_from_row(row) for row in await fetch(connection(), sql, list(devices))]
        return {status.device: status for status in found}

    async def record_last_seen(self, devices: Collection[UUID], day: date) -> None:
        async with database_guard():
            live = DeviceRow.filter(id__in=list(devices), last_seen_on__lt=day)
            await live.update(last_seen_on=day, idle_warned_at=None)

    async def load_revocations(self, after: int | None) -> Sequence[Revocation]:
        newest = RevocationRow.all().order_by("-id").limit(1)
        async with database_guard():
            found = await (newest if after is None else RevocationRow.filter(id__gt=after).order_by("id"))
        return [Revocation(row.id, row.device, UserId(row.account_id) if row.account_id else None) for row in found]

    async def rotate(self, rotation: Rotation) -> RotationOutcome:
        # The device is locked first, so that rotations, the end of the family and the end of the device run one after the other.
        lock = (
            "UPDATE device SET last_seen_on = CASE WHEN last_seen_on > $1 THEN last_seen_on ELSE $1 END, idle_warned_at = NULL"
            " WHERE id = (SELECT device FROM refresh_token WHERE hash = $2) AND ended_at IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM account a WHERE a.id = device.account_id AND (a.suspended_at IS NOT NULL OR a.deleted_at IS NOT NULL))"
            " RETURNING id, account_id, device_id, mailbox, session_generation"
        )
        async with transaction() as tx:
            device = await fetch(tx, lock, rotation.now.date(), rotation.hash)
            if not device:
                return None
            return await _rotate(tx, rotation, device[0])


async def _rotate(tx: BaseDBAsyncClient, rotation: Rotation, device: dict[str, Any]) -> RotationOutcome:
    use = (
        "UPDATE refresh_token SET used_at = $1, attempt_id = $2, successor = $3 WHERE hash = $4 AND used_at IS NULL AND expires_at > $5"
        " RETURNING family_ends_at"
    )
    used = await fetch(
        tx, use, rotation.now, rotation.attempt_id, rotation.successor, rotation.hash, rotation.judged_at
    )
    if used:
        return await _add_successor(tx, rotation, device, to_datetime(used[0]["family_ends_at"]))
    token = await RefreshTokenRow.get_or_none(hash=rotation.hash, using_db=tx)
    if token is None or token.used_at is None:
        return None
    is_retry = token.attempt_id == rotation.attempt_id and abs(rotation.now - token.used_at) <= rotation.retry_window
    unseen = "DELETE FROM refresh_token WHERE hash = $1 AND used_at IS NULL RETURNING family_ends_at"
    dead = await fetch(tx, unseen, token.successor) if is_retry else []
    if not dead:
        return await _end_family(tx, device, rotation.now)
    await RefreshTokenRow.filter(hash=rotation.hash).using_db(tx).update(successor=rotation.successor)
    return await _add_successor(tx, rotation, device, to_datetime(dead[0]["family_ends_at"]))


async def _add_successor(
    tx: BaseDBAsyncClient, rotation: Rotation, device: dict[str, Any], family_ends_at: datetime
) -> Rotated:
    expires_at = min(rotation.now + rotation.idle_lifetime, family_ends_at)
    _ = await RefreshTokenRow.create(
        tx,
        hash=rotation.successor,
        device=to_uuid(device["id"]),
        expires_at=expires_at,
        family_ends_at=family_ends_at,
    )
    user_id = UserId(to_uuid(device["account_id"]))
    return Rotated(user_id, to_uuid(device["id"]), device["session_generation"], expires_at)


async def _end_family(tx: BaseDBAsyncClient, device: dict[str, Any], now: datetime) -> Reused:
    """Revoke all tokens of the device, and notify the devices of the account. The device stays until the owner signs up again."""
    ended = EndedDevice(to_uuid(device["id"]), MailboxKey(device["mailbox"]))
    await DeviceRow.filter(id=ended.device).using_db(tx).update(session_generation=F("session_generation") + 1)
    await RefreshTokenRow.filter(device=ended.device).using_db(tx).delete()
    account_id = to_uuid(device["account_id"])
    body = {"name": "tokenReused", "deviceId": device["device_id"]}
    await enqueue_notice(tx, NewNotice(account_id, Audience.OWN, body, now))
    await record_event(tx, AccountEvent(account_id, "tokenReused", now, device["device_id"]))
    return Reused(ended)


def _status_from_row(row: dict[str, Any]) -> DeviceStatus:
    return DeviceStatus(
        to_uuid(row["id"]),
        UserId(to_uuid(row["account_id"])),
        DeviceId(row["device_id"]),
        MailboxKey(row["mailbox"]),
        MailboxId(to_uuid(row["mailbox_id"])),
        bool(row["is_primary"]),
        row["session_generation"],
        to_date(row["last_seen_on"]),
    )
