"""Who is in a conversation, and with which devices, as the node told; it is asked again when it says that something changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers
from vyry.client.refusals import Refused
from vyry.client.rest import Rest
from vyry.client.store import Store
from vyry.signal_protocol.primitives import Address


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices with keys of an account: registration ids by device number."""

    epoch: int
    devices: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circle:
    """A conversation."""

    is_group: bool
    version: int
    members: tuple[UUID, ...]


class Circles:
    """Asks the node, and remembers."""

    def __init__(self, store: Store, rest: Rest) -> None:
        self._store = store
        self._rest = rest
        self._peers = Peers(store)

    async def get(self, conversation_id: UUID) -> Circle:
        """The conversation. Raises Refused, Unreachable."""
        kept = self._store.get("conversation", str(conversation_id))
        if kept is not None:
            return unpack(Circle, kept)
        return self.keep(await self._rest.call("GET", f"/conversations/{conversation_id}"))

    def keep(self, said: Mapping[str, Any]) -> Circle:
        """Remember a conversation that the node has just told."""
        members = tuple(UUID(member["userId"]) for member in said["members"])
        circle = Circle(said["kind"] == "group", said["version"], members)
        self._store.put("conversation", said["conversationId"], pack(circle))
        return circle

    def others(self, conversation_id: UUID, me: UUID) -> list[str]:
        """Everybody else there, as far as it is known without asking."""
        kept = self._store.get("conversation", str(conversation_id))
        return [str(each) for each in unpack(Circle, kept).members if each != me] if kept else []

    async def devices(self, user_id: UUID) -> DeviceList:
        """The devices of somebody; none, when the account is gone. Raises Refused, Unreachable."""
        kept = self._store.get("device list", str(user_id))
        if kept is not None:
            return unpack(DeviceList, kept)
        try:
            said = await self._rest.call("GET", f"/keys/{user_id}")
        except Refused as refused:
            if refused.code != "NOT_FOUND":
                raise
            return DeviceList(0)
        listed = DeviceList(said["epoch"], {each["deviceId"]: each["registrationId"] for each in said["devices"]})
        self._store.put("device list", str(user_id), pack(listed))
        return listed

    def repair(self, conversation_id: UUID, stale: Mapping[str, Any], now: int) -> None:
        """Forget what the node says is outdated; a device number given again begins anew, one that is gone is let go."""
        with self._store.transaction():
            for name in ("missing", "extra", "stale"):
                for each in stale.get(name, ()):
                    forget_devices(self._store, UUID(each["userId"]))
            for each in stale.get("extra", ()):
                self._peers.leave(_address(each), now)
            for each in stale.get("stale", ()):
                self._peers.keep_sessions(_address(each), self._peers.sessions(_address(each)).archive())
            self._store.put("conversation", str(conversation_id), None)


def forget_devices(store: Store, user_id: UUID) -> None:
    """The list of this account is asked for again."""
    store.put("device list", str(user_id), None)


def _address(said: Mapping[str, Any]) -> Address:
    return Address(UUID(said["userId"]), said["deviceId"])
