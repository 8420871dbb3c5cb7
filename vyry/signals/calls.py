"""Call signals: passed on to sockets that are there, on whichever node, and never stored."""

from typing import Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotFound
from vyry.ids import DeviceId, UserId
from vyry.signals.passage import Passage, mailboxes_of, pass_on


class Acquaintance(Protocol):
    """Knows who shares a conversation with whom."""

    async def share_one(self, one: UserId, other: UserId) -> bool:
        """Whether these two are members of a common conversation."""
        ...


class Calls:
    """Passes call signals on between people who know each other."""

    def __init__(self, acquaintance: Acquaintance, lists: CachedDeviceLists, passage: Passage) -> None:
        self._acquaintance = acquaintance
        self._lists = lists
        self._passage = passage

    async def signal(
        self, caller: Caller, to: tuple[UserId, DeviceId | None], call_id: UUID, kind: str, content: bytes
    ) -> None:
        """Pass call set-up on to one device, or to all of an account. Raises NotFound for people out of reach and for unknown devices."""
        user_id, device_id = to
        if user_id != caller.user_id and not await self._acquaintance.share_one(caller.user_id, user_id):
            raise NotFound
        payload = {
            "userId": str(caller.user_id),
            "deviceId": caller.device_id,
            "callId": str(call_id),
            "kind": kind,
            "content": content,
        }
        # Nothing guards what is passed on by an epoch, as posts are: a call to a device that is no more would ring nowhere.
        self._lists.forget({user_id})
        mailboxes = await mailboxes_of(self._lists, {user_id}, device_id)
        if device_id is not None and not mailboxes:
            raise NotFound
        await pass_on(self._passage, "signal", payload, mailboxes - {caller.mailbox})
