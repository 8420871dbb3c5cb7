"""Devices: how they are added, and the only way they end. The order of locks: see vyry/storage/locks.py."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller, Device, DeviceListing, EndedDevice, NewDevice, Platform
from vyry.accounts.events import AccountEvent
from vyry.errors import NotFound
from vyry.kernel.chain import first_head
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import DeviceRow, MailboxRow, RefreshTokenRow
from vyry.storage.notice_outbox import enqueue_devices_changed
from vyry.storage.raw_sql import fetch, to_date, to_datetime, to_uuid


class TortoiseDevices:
    """DeviceStore on PostgreSQL or SQLite."""

    async def list(self, user_id: UserId) -> DeviceListing:
        # One statement, so that the epoch and the devices are consistent. An account without devices returns a row without device.
        sql = (
            "SELECT a.device_list_epoch, d.id, d.device_id, d.name, d.platform, d.is_primary, d.linked_at, d.last_seen_on"
            " FROM account a LEFT JOIN device d ON d.account_id = a.id AND d.ended_at IS NULL WHERE a.id = $1 ORDER BY d.device_id"
        )
        async with database_guard():
            found = await fetch(connection(), sql, user_id)
        if not found:
            raise NotFound
        devices = tuple(_device(row) for row in found if row["id"] is not None)
        return DeviceListing(devices, found[0]["device_list_epoch"])

    async def rename(self, user_id: UserId, device_id: DeviceId, name: str) -> None:
        async with database_guard():
            live = DeviceRow.filter(account_id=user_id, device_id=device_id, ended_at=None)
            if not await live.update(name=name):
                raise NotFound

    async def end(self, user_id: UserId, device: UUID, now: datetime) -> EndedDevice:
        async with transaction() as tx:
            ended = await end_devices(tx, user_id, [device], now)
            if not ended:
                raise NotFound
        return ended[0]


async def end_devices(
    tx: BaseDBAsyncClient,
    account_id: UUID,
    devices: Collection[UUID],
    now: datetime,
    *,
    identity_changed: bool = False,
) -> Sequence[EndedDevice]:
    """End those of these devices that are live: delete tokens, keys and waiting mail, close the mailboxes, raise the device-list epoch, notify peers.

    Returns the devices that this call ended; only their rows stay. `identity_changed`: the account gets another identity key.
    """
    rise = "UPDATE account SET device_list_epoch = device_list_epoch + 1 WHERE id = $1 RETURNING device_list_epoch"
    risen = await fetch(tx, rise, account_id)
    end = (
        "UPDATE device SET ended_at = $1 WHERE account_id = $2 AND id = ANY($3) AND ended_at IS NULL"
        " RETURNING id, mailbox, device_id, registration_id"
    )
    found = await fetch(tx, end, now, account_id, list(devices))
    ended = [EndedDevice(to_uuid(row["id"]), MailboxKey(row["mailbox"])) for row in found]
    if any(row["registration_id"] is not None for row in found):
        epoch = risen[0]["device_list_epoch"]
        await enqueue_devices_changed(tx, account_id, epoch, now, identity_changed=identity_changed)
    for row in found:
        await record_event(tx, AccountEvent(account_id, "deviceEnded", now, row["device_id"]))
    mailboxes = sorted(device.mailbox for device in ended)
    for mailbox in mailboxes:
        await fetch(tx, "UPDATE mailbox SET is_ended = TRUE WHERE id = $1", mailbox)
        await delete_mail(tx, mailbox)
    await fetch(tx, "DELETE FROM one_time_prekey WHERE mailbox = ANY($1)", mailboxes)
    await fetch(tx, "DELETE FROM key_set WHERE mailbox = ANY($1)", mailboxes)
    gone = [device.device for device in ended]
    await fetch(tx, "DELETE FROM refresh_token WHERE device = ANY($1)", gone)
    await fetch(tx, "DELETE FROM push_target WHERE device = ANY($1)", gone)
    await fetch(tx, "DELETE FROM push_wake WHERE device = ANY($1)", gone)
    await fetch(tx, "DELETE FROM push_report WHERE device = ANY($1)", gone)
    return ended


def _device(row: dict[str, Any]) -> Device:
    return Device(
        to_uuid(row["id"]),
        DeviceId(row["device_id"]),
        row["name"],
        Platform(row["platform"]),
        bool(row["is_primary"]),
        to_datetime(row["linked_at"]),
        to_date(row["last_seen_on"]),
    )


async def delete_mail(tx: BaseDBAsyncClient, mailbox: MailboxKey) -> None:
    """Delete all mail of a mailbox. A content shared with other mailboxes stays until its last copy is deleted."""
    await fetch(tx, "DELETE FROM held_notice WHERE mailbox = $1", mailbox)
    await fetch(tx, "DELETE FROM mailbox_share WHERE mailbox = $1", mailbox)
    gone = await fetch(tx, "DELETE FROM envelope WHERE mailbox = $1 RETURNING content, loss", mailbox)
    # By id, so that the planner uses the primary key: a join takes minutes where it underestimates the number of contents.
    bodies = [row["content"] for row in gone if row["loss"] is None]
    await fetch(tx, "DELETE FROM content WHERE id = ANY($1) AND copies = 1", bodies)
    await fetch(tx, "SELECT id FROM content WHERE id = ANY($1) ORDER BY id FOR UPDATE", bodies)
    await fetch(tx, "UPDATE content SET copies = copies - 1 WHERE id = ANY($1)", bodies)
    await fetch(tx, "DELETE FROM content WHERE id = ANY($1) AND copies <= 0", bodies)


@dataclass(frozen=True, slots=True)
class DeviceAssignment:
    """The account, number and role of a new device."""

    user_id: UserId
    device_id: DeviceId
    is_primary: bool


async def add_device(tx: BaseDBAsyncClient, assignment: DeviceAssignment, new: NewDevice, now: datetime) -> Caller:
    """Add a device without keys, with an empty mailbox and its first refresh token. The account must be locked."""
    head = first_head(new.mailbox_id)
    mailbox = await MailboxRow.create(tx, mailbox_id=new.mailbox_id, head=head, acknowledged_head=head)
    _ = await DeviceRow.create(
        tx,
        id=new.device,
        account_id=assignment.user_id,
        device_id=assignment.device_id,
        mailbox=mailbox.id,
        mailbox_id=new.mailbox_id,
        name=new.name,
        platform=new.platform.value,
        is_primary=assignment.is_primary,
        linked_at=now,
        last_seen_on=now.date(),
    )
    _ = await RefreshTokenRow.create(
        tx,
        hash=new.refresh_hash,
        device=new.device,
        expires_at=new.refresh_expires_at,
        family_ends_at=new.family_ends_at,
    )
    return Caller(
        assignment.user_id,
        assignment.device_id,
        new.device,
        MailboxKey(mailbox.id),
        new.mailbox_id,
        assignment.is_primary,
        now,
    )
