"""What this device holds about others: their identity keys, and the sessions with each of their devices."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.own_sender_keys import OwnSenderKeys
from vyry.client.store import kinds
from vyry.client.store.events import IdentityChanged
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.client.transport.validation import read_bool, read_device_id, read_int, read_registration_id
from vyry.signal_protocol.keys import MAX_ID, Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityForged
from vyry.signal_protocol.sessions import PeerDevice, Sessions


MAX_DEVICE = 127
#: Late mail of a device that has ended is opened for so long: as long as mail can wait.
LATE_DAYS = 30
_MOST_GIVEN_UP = 20


class Peers:
    """Reads and writes it, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sessions(self, address: Address) -> Sessions:
        """The sessions with this device."""
        kept = self._store.get(kinds.SESSIONS, _device_key(address))
        return unpack(Sessions, kept) if kept else Sessions()

    def save_sessions(self, address: Address, sessions: Sessions, *, until: int | None = None) -> None:
        """Store them; until that moment when the device has ended."""
        self._store.put(kinds.SESSIONS, _device_key(address), pack(sessions), until=until)

    def match_listed(self, address: Address, listed: PeerDevice, now: int) -> None:
        """A verified list has this device: sessions with another one under its number are not used for sending any more."""
        mark = pack(listed)
        if self._store.get(kinds.MATCHED_DEVICE, _device_key(address)) == mark:
            # Looked at for each device at each post: a group has many.
            return
        sessions = self.sessions(address)
        met = sessions.retire_unlisted(listed, now)
        if met != sessions:
            self.save_sessions(address, met)
        self._store.put(kinds.MATCHED_DEVICE, _device_key(address), mark)

    def clear_match(self, address: Address) -> None:
        """A session came that was held against no list: it is, before anything is sealed in it."""
        self._store.put(kinds.MATCHED_DEVICE, _device_key(address), None)

    def expire_sessions(self, address: Address, now: int) -> None:
        """The node lists this device no more."""
        sessions = self.sessions(address)
        if sessions.active is not None or sessions.archived:
            self.save_sessions(address, sessions, until=now + LATE_DAYS * DAY_MS)

    def identity_key(self, user_id: UUID) -> bytes | None:
        """The identity key held for this account; None before the first contact. One's own is the one that this device was made with."""
        held = self._store.get(kinds.IDENTITY, str(user_id))
        if held is None and (me := LocalDevice.load_or_none(self._store)) is not None and me.user_id == user_id:
            return me.identity.public
        return held

    def save_identity(self, user_id: UUID, identity_key: bytes) -> None:
        """Hold this one from now on."""
        self._store.put(kinds.IDENTITY, str(user_id), identity_key)
        self._store.put(kinds.IDENTITY_ACCOUNT, str(user_id), user_id.bytes)

    def delete_sessions(self) -> None:
        """This store is older than it should be: what it would seal with was used already."""
        self._store.execute("DELETE FROM value WHERE kind IN ('sessions', 'own sender key')")


def known_identities(store: Store) -> Iterator[tuple[UUID, bytes]]:
    """Every account whose identity key is held, and the key."""
    for user_id in (UUID(bytes=kept) for kept in store.all(kinds.IDENTITY_ACCOUNT)):
        held = store.get(kinds.IDENTITY, str(user_id))
        if held is not None:
            yield user_id, held


def record_changed_key(store: Store, user_id: UUID, identity_key: bytes) -> None:
    """The node tells another identity key for this account than the one held: it is kept apart as seen, and the person here is asked, once for each key. One's own is never another."""
    if not _is_own(store, user_id) and store.get(kinds.CHANGED_KEY, str(user_id)) != identity_key:
        store.put(kinds.CHANGED_KEY, str(user_id), identity_key)
        store.put(kinds.CHANGED_ACCOUNT, str(user_id), user_id.bytes)
        Journal(store).add(IdentityChanged(user_id=user_id))


def clear_changed_key(store: Store, user_id: UUID) -> None:
    """The node tells the held key again: nothing is to be decided."""
    if store.get(kinds.CHANGED_ACCOUNT, str(user_id)) is not None:
        store.put(kinds.CHANGED_ACCOUNT, str(user_id), None)
    store.put(kinds.CHANGED_KEY, str(user_id), None)


def changed_accounts(store: Store) -> list[UUID]:
    """The accounts with another key that the person here has not decided about."""
    return sorted(UUID(bytes=kept) for kept in store.all(kinds.CHANGED_ACCOUNT))


def changed_key(store: Store, user_id: UUID) -> bytes | None:
    """The other key that the node told for this account, while the person here has not decided about it."""
    return store.get(kinds.CHANGED_KEY, str(user_id))


def accept_identity(store: Store, user_id: UUID, identity_key: bytes) -> None:
    """The person here accepted another key: it is held from now on. Deletes the sessions of every other key, and the sender keys that the account's devices were told. Raises IdentityForged for one's own account: its key is the one that this device was made with."""
    if _is_own(store, user_id):
        raise IdentityForged
    peers = Peers(store)
    for device in range(1, MAX_DEVICE + 1):
        sessions = peers.sessions(Address(user_id, device))
        if sessions != Sessions():
            peers.save_sessions(Address(user_id, device), sessions.restrict_to_identity(identity_key))
            peers.clear_match(Address(user_id, device))
    OwnSenderKeys(store).delete_for_account(user_id)
    for kind in (
        kinds.CHANGED_KEY,
        kinds.CHANGED_ACCOUNT,
        kinds.VERIFIED,
        kinds.DEVICE_LIST,
        kinds.DEVICE_HISTORY,
        kinds.PROFILE_KEY_SENT,
    ):
        store.put(kind, str(user_id), None)
    before = peers.identity_key(user_id)
    if before not in (None, identity_key):
        given_up = (*_former_keys(store, user_id), before)[-_MOST_GIVEN_UP:]
        store.put(kinds.FORMER_KEYS, str(user_id), pack(given_up))
    peers.save_identity(user_id, identity_key)


def _is_own(store: Store, user_id: UUID) -> bool:
    me = LocalDevice.load_or_none(store)
    return me is not None and me.user_id == user_id


def is_former_key(store: Store, user_id: UUID, identity_key: bytes) -> bool:
    """Whether this key was held for the account before the person here accepted another: late mail under it is no reason to ask again."""
    return identity_key in _former_keys(store, user_id)


def _former_keys(store: Store, user_id: UUID) -> tuple[bytes, ...]:
    kept = store.get(kinds.FORMER_KEYS, str(user_id))
    return unpack(tuple[bytes, ...], kept) if kept else ()


def read_bundle(user_id: UUID, said: Mapping[str, Any]) -> Bundle:
    """A bundle as a claim gives it; it is verified when a session begins with it. Raises ValueError, KeyError, TypeError for anything else (`Rest.shaped`)."""
    one_time = said["oneTimePrekey"]
    return Bundle(
        Address(user_id, read_device_id(said["deviceId"])),
        read_registration_id(said["registrationId"]),
        decode_bytes(said["identityKey"]),
        decode_bytes(said["identityDhKey"]),
        decode_bytes(said["identityDhSignature"]),
        _prekey(said["signedPrekey"]),
        _prekey(one_time) if one_time else None,
        _prekey(said["pqPrekey"]),
        read_bool(said["pqPrekeyIsLastResort"]),
    )


def _prekey(said: Mapping[str, Any]) -> PublicPrekey:
    signature = said.get("signature")
    return PublicPrekey(
        read_int(said["id"], 1, MAX_ID), decode_bytes(said["key"]), decode_bytes(signature) if signature else None
    )


def _device_key(address: Address) -> str:
    return f"{address.user_id}/{address.device_id}"


def is_verified(store: Store, user_id: UUID) -> bool:
    """Whether the safety number of the held key was compared."""
    held = store.get(kinds.IDENTITY, str(user_id))
    return held is not None and store.get(kinds.VERIFIED, str(user_id)) == held


def mark_verified(store: Store, user_id: UUID, *, is_verified: bool) -> None:
    """Note whether the number of the key that is held now was compared; the note falls when the key changes."""
    store.put(kinds.VERIFIED, str(user_id), store.get(kinds.IDENTITY, str(user_id)) if is_verified else None)
