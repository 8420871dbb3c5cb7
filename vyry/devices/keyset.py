"""The published keys of a device as values. Private keys never reach the node; key bytes are in no repr.

Names follow docs/signal-protocol.md section 2: `one_time` are X25519 (or Curve25519) keys without signature, `pq` are signed KEM keys.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import sha256

from vyry.kernel.ids import DeviceId, MailboxKey, UserId


_ID = struct.Struct(">I")


class Suite(Enum):
    """The protocol of the keys. For the node the suites differ in lengths and signatures only."""

    VYRY = "vyry"
    LIBSIGNAL = "libsignal"


@dataclass(frozen=True, slots=True)
class OneTimePrekey:
    """An unsigned one-time key."""

    id: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedPrekey:
    """A key with a signature by the identity key."""

    id: int
    key: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The key that signs the prekeys of a device, and in suite `vyry` the DH key of the device, which every signature covers."""

    suite: Suite
    key: bytes = field(repr=False)
    dh_key: bytes | None = field(default=None, repr=False)
    dh_signature: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyRefill:
    """Keys to add to the set of a device; a signed prekey or last-resort prekey replaces the current one."""

    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[SignedPrekey] = ()
    signed_prekey: SignedPrekey | None = None
    pq_last_resort: SignedPrekey | None = None


@dataclass(frozen=True, slots=True)
class KeyUpload:
    """A complete set of keys of one device."""

    registration_id: int
    identity: Identity
    signed_prekey: SignedPrekey
    pq_last_resort: SignedPrekey
    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[SignedPrekey] = ()


@dataclass(frozen=True, slots=True)
class HighestIds:
    """The highest id of each kind of one-time key, 0 for none."""

    one_time: int = 0
    pq: int = 0


@dataclass(frozen=True, slots=True)
class KeyState:
    """The stored keys of a device. `issued_through` are the highest ids ever claimed."""

    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[OneTimePrekey] = ()
    signed_prekey_id: int | None = None
    signed_prekey_at: datetime | None = None
    last_resort_uses: int = 0
    issued_through: HighestIds = field(default_factory=HighestIds)

    def digest(self) -> bytes:
        """SHA-256 over the unused one-time prekeys, then the unused PQ ones: id u32be and key bytes, by rising id (docs/protocol.md)."""
        whole = sha256()
        for prekey in (*self.one_time, *self.pq):
            whole.update(_ID.pack(prekey.id) + prekey.key)
        return whole.digest()


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The long-lived keys of a device."""

    device_id: DeviceId
    registration_id: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The identity key of an account, and its devices; without an identity before the first upload."""

    user_id: UserId
    suite: Suite | None
    identity_key: bytes | None = field(repr=False)
    epoch: int
    devices: Sequence[DeviceKeys]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The prekeys that start a session with a device. Its one-time keys have been deleted from the directory."""

    device: DeviceKeys
    signed_prekey: SignedPrekey
    one_time: OneTimePrekey | None
    pq: SignedPrekey
    is_last_resort: bool


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The bundles of a claim, and the key counts of devices that fell below the low-water mark."""

    epoch: int
    bundles: Sequence[Bundle]
    low_counts: Mapping[MailboxKey, HighestIds]
