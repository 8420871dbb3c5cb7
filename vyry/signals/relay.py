"""The way of a frame to people's sockets, on whichever node they are. What reaches nobody is gone."""

from collections.abc import Collection, Mapping
from typing import Protocol

import msgpack

from vyry.devices.device_lists import CachedDeviceLists
from vyry.kernel.ids import DeviceId, MailboxKey, UserId


class FrameRelay(Protocol):
    """The way to the sockets, on whichever node they are."""

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        """Pass a frame to the sockets of these mailboxes; answers those that were believed to be held."""
        ...


async def mailboxes_of(
    lists: CachedDeviceLists, users: Collection[UserId], device_id: DeviceId | None = None
) -> set[MailboxKey]:
    """The mailboxes of all devices of these people, or of the one device."""
    return {
        listed.mailbox
        for recipient in (await lists.get(users)).values()
        for device, listed in recipient.devices.items()
        if device_id in (None, device)
    }


async def relay_frame(
    relay: FrameRelay, name: str, payload: Mapping[str, object], mailboxes: Collection[MailboxKey]
) -> set[MailboxKey]:
    """Pass one frame on to these mailboxes; answers those whose sockets are believed to be there."""
    return await relay.relay(mailboxes, msgpack.packb((name, payload))) if mailboxes else set()
