"""What this device holds about others: their identity keys, device lists, and the sessions with each of their devices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from vyry.client.chain import octets
from vyry.client.packing import pack, unpack
from vyry.client.store import Store
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sessions import Sessions


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices with keys of an account, as the node told them: registration ids by device number."""

    epoch: int
    devices: Mapping[int, int] = field(default_factory=dict)


class Peers:
    """Reads and writes it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sessions(self, address: Address) -> Sessions:
        """The sessions with this device."""
        kept = self._store.get("sessions", _name(address))
        return unpack(Sessions, kept) if kept else Sessions()

    def keep_sessions(self, address: Address, sessions: Sessions) -> None:
        """Store them."""
        self._store.put("sessions", _name(address), pack(sessions))

    def _registration_id(self, address: Address) -> int | None:
        """Which device of that number the sessions are with: a number given again is told apart by this."""
        kept = self._store.get("registration id", _name(address))
        return int(kept) if kept else None

    def keep_registration_id(self, address: Address, registration_id: int) -> None:
        """Note it."""
        self._store.put("registration id", _name(address), str(registration_id).encode())

    def meet(self, address: Address, registration_id: int) -> None:
        """The node lists this device: if it is another one under a known number, begin anew with it."""
        if self._registration_id(address) not in (None, registration_id):
            self.keep_sessions(address, self.sessions(address).archive())

    def identity(self, user_id: UUID) -> bytes | None:
        """The identity key held for this person; None before the first contact."""
        return self._store.get("identity", str(user_id))

    def keep_identity(self, user_id: UUID, identity_key: bytes) -> None:
        """Hold this one from now on."""
        self._store.put("identity", str(user_id), identity_key)

    def devices(self, user_id: UUID) -> DeviceList | None:
        """The list as it is known, None if it has to be asked for."""
        kept = self._store.get("device list", str(user_id))
        return unpack(DeviceList, kept) if kept else None

    def keep_devices(self, user_id: UUID, devices: DeviceList | None) -> None:
        """Store the list; None forgets it."""
        self._store.put("device list", str(user_id), pack(devices) if devices else None)


def read_list(said: Mapping[str, Any]) -> DeviceList:
    """The list in an answer of GET /keys/{userId}."""
    return DeviceList(said["epoch"], {each["deviceId"]: each["registrationId"] for each in said["devices"]})


def read_bundle(user_id: UUID, said: Mapping[str, Any]) -> Bundle:
    """A bundle as a claim gives it; it is verified when a session begins with it."""
    one_time = said["oneTimePrekey"]
    return Bundle(
        Address(user_id, said["deviceId"]),
        said["registrationId"],
        octets(said["identityKey"]),
        octets(said["identityDhKey"]),
        octets(said["identityDhSignature"]),
        _prekey(said["signedPrekey"]),
        _prekey(one_time) if one_time else None,
        _prekey(said["pqPrekey"]),
        said["pqPrekeyIsLastResort"],
    )


def _prekey(said: Mapping[str, Any]) -> PublicPrekey:
    signature = said.get("signature")
    return PublicPrekey(said["id"], octets(said["key"]), octets(signature) if signature else None)


def _name(address: Address) -> str:
    return f"{address.user_id}/{address.device_id}"
