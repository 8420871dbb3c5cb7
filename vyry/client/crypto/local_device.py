"""This device: its ids, its long-term keys, and the private halves of its prekeys."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from vyry.client.errors import NotRegistered
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.signal_protocol.keys import DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, SigningPair
from vyry.signal_protocol.provisioning import Provisioning
from vyry.signal_protocol.sessions import AcceptedHandshake


_MAX_REGISTRATION_ID: Final = 16_380


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A handshake without one-time keys that was answered, and its signed prekey."""

    signed_prekey_id: int
    transcript: bytes


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A registered device. `point` is the mailbox position stored safely, None before the first fetch; `next_id` is the first prekey id never used."""

    user_id: UUID
    device_id: int
    registration_id: int
    identity: SigningPair = field(repr=False)
    dh: DhPair = field(repr=False)
    point: MailboxPosition | None = None
    next_id: int = 1
    #: Opens the profile that the account shows.
    profile_key: bytes = field(default=b"", repr=False)

    @classmethod
    def generate(cls, user_id: UUID, device_id: int) -> "LocalDevice":
        """A device with new keys, on a new account."""
        registration_id = 1 + secrets.randbelow(_MAX_REGISTRATION_ID)
        key = secrets.token_bytes(32)
        return cls(user_id, device_id, registration_id, SigningPair.generate(), DhPair.generate(), profile_key=key)

    @classmethod
    def from_provisioning(cls, provisioning: Provisioning) -> "LocalDevice":
        """A device with new keys, on an account that another device provides; its id comes from the node (`with_device_id`)."""
        device = cls.generate(provisioning.user_id, 0)
        return replace(device, identity=provisioning.identity, profile_key=provisioning.profile_key)

    def with_device_id(self, device_id: int) -> "LocalDevice":
        """This device with the id that the node assigned."""
        return replace(self, device_id=device_id)

    @property
    def protocol_device(self) -> OwnDevice:
        """This device as a value of the protocol."""
        return OwnDevice(Address(self.user_id, self.device_id), self.registration_id, self.identity, self.dh)

    @classmethod
    def load(cls, store: Store) -> "LocalDevice":
        """The device of this profile. Raises NotRegistered."""
        found = cls.load_or_none(store)
        if found is None:
            raise NotRegistered("This profile has no account yet: run `vyry client register` or `vyry client link`.")
        return found

    @classmethod
    def load_or_none(cls, store: Store) -> "LocalDevice | None":
        """The device of this profile, if there is one."""
        packed = store.get(kinds.LOCAL_DEVICE)
        return unpack(cls, packed) if packed is not None else None

    def save(self, store: Store) -> None:
        """Store it."""
        store.put(kinds.LOCAL_DEVICE, "", pack(self))


class PrekeyStore:
    """The private halves of published prekeys: a `PrekeyProvider` of the protocol."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See PrekeyProvider."""
        return self._load_dh(kinds.SIGNED_PREKEY, prekey_id)

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See PrekeyProvider."""
        return self._load_dh(kinds.ONE_TIME_PREKEY, prekey_id)

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """See PrekeyProvider."""
        packed = self._store.get(kinds.PQ_LAST_RESORT if is_last_resort else kinds.PQ_PREKEY, str(prekey_id))
        return unpack(KemPrekey, packed) if packed else None

    def has_answered(self, transcript: bytes) -> bool:
        """See PrekeyProvider."""
        return self._store.get(kinds.REPLAY, transcript.hex()) is not None

    def record_handshake(self, answered: AcceptedHandshake) -> None:
        """Delete the keys that a handshake used up, and record it if it could be replayed."""
        if answered.one_time_prekey_id:
            self._store.put(kinds.ONE_TIME_PREKEY, str(answered.one_time_prekey_id), None)
        if not answered.pq_is_last_resort:
            self._store.put(kinds.PQ_PREKEY, str(answered.pq_prekey_id), None)
        if answered.replay is not None:
            record = ReplayRecord(answered.signed_prekey_id, answered.replay)
            self._store.put(kinds.REPLAY, answered.replay.hex(), pack(record))

    def _load_dh(self, kind: str, prekey_id: int) -> DhPrekey | None:
        packed = self._store.get(kind, str(prekey_id))
        return unpack(DhPrekey, packed) if packed else None
