"""What this device holds about others: their identity keys, and the sessions with each of their devices."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from vyry.client.chain import octets
from vyry.client.events import IdentityChanged
from vyry.client.journal import Journal
from vyry.client.packing import pack, unpack
from vyry.client.store import DAY, Store
from vyry.signal_protocol.keys import Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sessions import Sessions


MAX_DEVICE = 127
#: Late mail of a device that has ended is opened for so long: as long as mail can wait.
LATE_DAYS = 30


class Peers:
    """Reads and writes it, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sessions(self, address: Address) -> Sessions:
        """The sessions with this device."""
        kept = self._store.get("sessions", _name(address))
        return unpack(Sessions, kept) if kept else Sessions()

    def keep_sessions(self, address: Address, sessions: Sessions, *, until: int | None = None) -> None:
        """Store them; until that moment when the device has ended."""
        self._store.put("sessions", _name(address), pack(sessions), until=until)

    def keep_registration_id(self, address: Address, registration_id: int) -> None:
        """Note which device of that number the sessions are with: a number given again is told apart by this."""
        self._store.put("registration id", _name(address), str(registration_id).encode())

    def meet(self, address: Address, registration_id: int) -> None:
        """The node lists this device: if it is another one under a known number, begin anew with it."""
        kept = self._store.get("registration id", _name(address))
        if kept is not None and int(kept) != registration_id:
            self.keep_sessions(address, self.sessions(address).archive())

    def leave(self, address: Address, now: int) -> None:
        """The node lists this device no more."""
        sessions = self.sessions(address)
        if sessions.active is not None or sessions.archived:
            self.keep_sessions(address, sessions, until=now + LATE_DAYS * DAY)

    def identity(self, user_id: UUID) -> bytes | None:
        """The identity key held for this person; None before the first contact."""
        return self._store.get("identity", str(user_id))

    def keep_identity(self, user_id: UUID, identity_key: bytes) -> None:
        """Hold this one from now on."""
        self._store.put("identity", str(user_id), identity_key)

    def forget_sessions(self) -> None:
        """This store is older than it should be: what it would seal with was used already."""
        self._store.rows("DELETE FROM value WHERE kind IN ('sessions', 'own sender key')")


def note_changed(store: Store, person: UUID) -> None:
    """Somebody has another identity key: the person here is asked, once."""
    if store.get("changed", str(person)) is None:
        store.put("changed", str(person), b"asked")
        Journal(store).add(IdentityChanged(user_id=person))


def begin_anew(store: Store, person: UUID) -> None:
    """The person here has answered: what was held with the old key is archived, with every device there may be."""
    peers = Peers(store)
    for device in range(1, MAX_DEVICE + 1):
        sessions = peers.sessions(Address(person, device))
        if sessions.active is not None:
            peers.keep_sessions(Address(person, device), sessions.archive())
    for kind in ("changed", "verified", "device list", "profile told"):
        store.put(kind, str(person), None)


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
