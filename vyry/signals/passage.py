"""The way of a frame to people's sockets, on whichever node they are. What reaches nobody is gone."""

from collections.abc import Collection, Mapping
from typing import Protocol

import msgpack

from vyry.devices.directory import CachedDeviceLists
from vyry.ids import DeviceId, MailboxKey, UserId


class Passage(Protocol):
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


async def pass_on(
    passage: Passage, name: str, payload: Mapping[str, object], to: Collection[MailboxKey]
) -> set[MailboxKey]:
    """Pass one frame on to these mailboxes; answers those whose sockets are believed to be there."""
    return await passage.relay(to, msgpack.packb((name, payload))) if to else set()
