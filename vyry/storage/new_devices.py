"""How a device comes to life in the database, whether by a sign-up or by a link: an empty mailbox, its row, its first refresh token."""

from dataclasses import dataclass
from datetime import datetime

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller, NewDevice
from vyry.kernel.chain import first_head
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.storage.models import DeviceRow, MailboxRow, RefreshTokenRow


@dataclass(frozen=True, slots=True)
class DeviceAssignment:
    """Which device of which account it will be."""

    user_id: UserId
    device_id: DeviceId
    is_primary: bool


async def add_device(tx: BaseDBAsyncClient, assignment: DeviceAssignment, new: NewDevice, now: datetime) -> Caller:
    """Make this device, without keys; answers who it is. The account's row must be locked."""
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
