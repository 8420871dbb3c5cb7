"""Frames of signals to the sockets of accounts, on any node. A frame without a socket to receive it is dropped."""

from collections.abc import Collection, Mapping

import msgpack

from vyry.devices.device_lists import CachedDeviceLists
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.mail.routing import Notifier


async def mailboxes_of(
    lists: CachedDeviceLists, users: Collection[UserId], device_id: DeviceId | None = None
) -> set[MailboxKey]:
    """The mailboxes of all devices of these accounts, or of the one device."""
    return {
        listed.mailbox
        for recipient in (await lists.get(users)).values()
        for device, listed in recipient.devices.items()
        if device_id in (None, device)
    }


async def relay_frame(
    notifier: Notifier, name: str, payload: Mapping[str, object], mailboxes: Collection[MailboxKey]
) -> set[MailboxKey]:
    """Pass one frame to the sockets of these mailboxes; returns the mailboxes that have a socket as far as known."""
    return await notifier.relay(mailboxes, msgpack.packb((name, payload))) if mailboxes else set()
