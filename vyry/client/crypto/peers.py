"""What this device stores about others: their identity keys, the sessions with each of their devices, and its own sender keys with their recipients."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.store import kinds
from vyry.client.store.events import IdentityChanged
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.client.transport.validation import MAX_DEVICE_ID, read_bool, read_device_id, read_int, read_registration_id
from vyry.signal_protocol.keys import MAX_ID, Bundle, PublicPrekey
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import IdentityForged
from vyry.signal_protocol.sender_keys import KeyRecipient, OwnSenderKey, SenderKeyScope
from vyry.signal_protocol.sessions import PeerDevice, Sessions


#: Days for which late mail of an ended device is opened: as long as mail can wait.
LATE_DAYS = 30
_MAX_FORMER_KEYS = 20


class Peers:
    """Reads and writes identity keys and sessions, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sessions(self, address: Address) -> Sessions:
        """The sessions with this device."""
        packed = self._store.get(kinds.SESSIONS, device_row_name(address))
        return unpack(Sessions, packed) if packed else Sessions()

    def save_sessions(self, address: Address, sessions: Sessions, *, until: int | None = None) -> None:
        """Store them; until that moment when the device has ended."""
        self._store.put(kinds.SESSIONS, device_row_name(address), pack(sessions), until=until)

    def match_listed(self, address: Address, listed: PeerDevice, now: int) -> None:
        """A verified list has this device: sessions with another device under its id are not used for sending any more."""
        packed = pack(listed)
        if self._store.get(kinds.MATCHED_DEVICE, device_row_name(address)) == packed:
            # Called for each device at each post: a group has many.
            return
        sessions = self.sessions(address)
        remaining = sessions.retire_unlisted(listed, now)
        if remaining != sessions:
            self.save_sessions(address, remaining)
        self._store.put(kinds.MATCHED_DEVICE, device_row_name(address), packed)

    def clear_match(self, address: Address) -> None:
        """A session arrived that was compared with no list: it is compared before anything is sealed in it."""
        self._store.put(kinds.MATCHED_DEVICE, device_row_name(address), None)

    def expire_sessions(self, address: Address, now: int) -> None:
        """The node no longer lists this device."""
        sessions = self.sessions(address)
        if sessions.active is not None or sessions.archived:
            self.save_sessions(address, sessions, until=now + LATE_DAYS * DAY_MS)

    def identity_key(self, user_id: UUID) -> bytes | None:
        """The identity key stored for this account; None before first contact. For the own account it is the key of this device."""
        stored = self._store.get(kinds.IDENTITY, str(user_id))
        if stored is None and (me := LocalDevice.load_or_none(self._store)) is not None and me.user_id == user_id:
            return me.identity.public
        return stored

    def save_identity(self, user_id: UUID, identity_key: bytes) -> None:
        """Store this identity key."""
        self._store.put(kinds.IDENTITY, str(user_id), identity_key)
        self._store.put(kinds.IDENTITY_ACCOUNT, str(user_id), user_id.bytes)

    def delete_sessions(self) -> None:
        """This store is older than it should be, so its keys may have been used already: delete sessions and own sender keys."""
        self._store.execute("DELETE FROM value WHERE kind IN ('sessions', 'own sender key')")


def known_identities(store: Store) -> Iterator[tuple[UUID, bytes]]:
    """Every account with a stored identity key, and the key."""
    for user_id in (UUID(bytes=packed) for packed in store.all(kinds.IDENTITY_ACCOUNT)):
        stored = store.get(kinds.IDENTITY, str(user_id))
        if stored is not None:
            yield user_id, stored


def record_changed_key(store: Store, user_id: UUID, identity_key: bytes) -> None:
    """The node reports another identity key than the stored one: it is recorded as seen, and the user is asked once for each key. The own account's key never changes."""
    if not _is_own(store, user_id) and store.get(kinds.CHANGED_KEY, str(user_id)) != identity_key:
        store.put(kinds.CHANGED_KEY, str(user_id), identity_key)
        store.put(kinds.CHANGED_ACCOUNT, str(user_id), user_id.bytes)
        Journal(store).add(IdentityChanged(user_id=user_id))


def clear_changed_key(store: Store, user_id: UUID) -> None:
    """The node reports the stored key again: there is nothing to decide."""
    if store.get(kinds.CHANGED_ACCOUNT, str(user_id)) is not None:
        store.put(kinds.CHANGED_ACCOUNT, str(user_id), None)
    store.put(kinds.CHANGED_KEY, str(user_id), None)


def changed_accounts(store: Store) -> list[UUID]:
    """Accounts with a changed key that the user has not decided about."""
    return sorted(UUID(bytes=packed) for packed in store.all(kinds.CHANGED_ACCOUNT))


def changed_key(store: Store, user_id: UUID) -> bytes | None:
    """The changed key that the node reported for this account, while the user has not decided about it."""
    return store.get(kinds.CHANGED_KEY, str(user_id))


def accept_identity(store: Store, user_id: UUID, identity_key: bytes) -> None:
    """The user accepted a changed key: it is stored, and the sessions of every other key and the sender keys that the account's devices received are deleted. Raises IdentityForged for the own account, whose key cannot change."""
    if _is_own(store, user_id):
        raise IdentityForged
    peers = Peers(store)
    for device in range(1, MAX_DEVICE_ID + 1):
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
        former = (*_former_keys(store, user_id), before)[-_MAX_FORMER_KEYS:]
        store.put(kinds.FORMER_KEYS, str(user_id), pack(former))
    peers.save_identity(user_id, identity_key)


def _is_own(store: Store, user_id: UUID) -> bool:
    me = LocalDevice.load_or_none(store)
    return me is not None and me.user_id == user_id


def is_former_key(store: Store, user_id: UUID, identity_key: bytes) -> bool:
    """Whether this key was stored for the account before the user accepted another: late mail under it does not ask again."""
    return identity_key in _former_keys(store, user_id)


def _former_keys(store: Store, user_id: UUID) -> tuple[bytes, ...]:
    packed = store.get(kinds.FORMER_KEYS, str(user_id))
    return unpack(tuple[bytes, ...], packed) if packed else ()


def read_bundle(user_id: UUID, response: Mapping[str, Any]) -> Bundle:
    """A bundle as a claim returns it; it is verified when a session begins with it. Raises ValueError, KeyError, TypeError for anything else (`RestClient.validated_response`)."""
    one_time = response["oneTimePrekey"]
    return Bundle(
        Address(user_id, read_device_id(response["deviceId"])),
        read_registration_id(response["registrationId"]),
        decode_bytes(response["identityKey"]),
        decode_bytes(response["identityDhKey"]),
        decode_bytes(response["identityDhSignature"]),
        _prekey(response["signedPrekey"]),
        _prekey(one_time) if one_time else None,
        _prekey(response["pqPrekey"]),
        read_bool(response["pqPrekeyIsLastResort"]),
    )


def _prekey(fields: Mapping[str, Any]) -> PublicPrekey:
    signature = fields.get("signature")
    return PublicPrekey(
        read_int(fields["id"], 1, MAX_ID), decode_bytes(fields["key"]), decode_bytes(signature) if signature else None
    )


def device_row_name(address: Address) -> str:
    """The name of a device in rows of the store."""
    return f"{address.user_id}/{address.device_id}"


def is_verified(store: Store, user_id: UUID) -> bool:
    """Whether the safety number of the stored key was compared."""
    stored = store.get(kinds.IDENTITY, str(user_id))
    return stored is not None and store.get(kinds.VERIFIED, str(user_id)) == stored


def mark_verified(store: Store, user_id: UUID, *, is_verified: bool) -> None:
    """Record whether the number of the stored key was compared; a changed key revokes it."""
    store.put(kinds.VERIFIED, str(user_id), store.get(kinds.IDENTITY, str(user_id)) if is_verified else None)


class OwnSenderKeys:
    """Reads and writes own sender keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> OwnSenderKey | None:
        """The current generation."""
        packed = self._store.get(kinds.OWN_SENDER_KEY, str(conversation_id))
        return unpack(OwnSenderKey, packed) if packed else None

    def save(self, conversation_id: UUID, own: OwnSenderKey | None) -> None:
        """Store it; None: the next message creates a new one."""
        self._store.put(kinds.OWN_SENDER_KEY, str(conversation_id), pack(own) if own else None)

    def current(self, scope: SenderKeyScope, readers: Collection[KeyRecipient], now: int) -> OwnSenderKey:
        """The generation for the next message to these devices, a new one if the rules require it."""
        own = self.get(scope.conversation_id)
        if own is None or own.needs_rotation(readers, now):
            own = OwnSenderKey.generate(scope, now)
            self.save(scope.conversation_id, own)
        return own

    def delete_for_account(self, user_id: UUID) -> None:
        """An account changed its identity key: generations that any of its devices received are not used any more."""
        for packed in self._store.all(kinds.OWN_SENDER_KEY):
            own = unpack(OwnSenderKey, packed)
            if any(reader.address.user_id == user_id for reader in own.told):
                self.save(own.key.where.conversation_id, None)

    def remove_recipient(self, conversation_id: UUID, address: Address) -> OwnSenderKey | None:
        """A device has lost the key: it has to be sent again. Returns the key."""
        own = self.get(conversation_id)
        if own is None:
            return None
        own = own.without_recipient(address)
        self.save(conversation_id, own)
        return own
