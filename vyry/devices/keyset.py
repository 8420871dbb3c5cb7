"""The published keys of a device as values. Private keys never come here; ciphertext and key bytes stay out of every repr.

Names follow signal-protocol.md section 2: `one_time` are X25519 (or Curve25519) keys without signature, `pq` are signed KEM keys.
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
    """Which client protocol the keys are for; the node treats both alike beyond lengths and signatures."""

    VYRY = "vyry"
    LIBSIGNAL = "libsignal"


@dataclass(frozen=True, slots=True)
class OneTimePrekey:
    """A key that is handed out once."""

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
    """What a device's prekeys are signed by, and in suite `vyry` the device's own DH key, which every signature binds."""

    suite: Suite
    key: bytes = field(repr=False)
    dh_key: bytes | None = field(default=None, repr=False)
    dh_signature: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyRefill:
    """Keys that come on top of a device's set; a signed prekey or last resort given here takes the place of the present one."""

    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[SignedPrekey] = ()
    signed_prekey: SignedPrekey | None = None
    pq_last_resort: SignedPrekey | None = None


@dataclass(frozen=True, slots=True)
class KeyUpload:
    """A whole set of keys for one device."""

    registration_id: int
    identity: Identity
    signed_prekey: SignedPrekey
    pq_last_resort: SignedPrekey
    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[SignedPrekey] = ()


@dataclass(frozen=True, slots=True)
class HighestIds:
    """The highest id of each name space, 0 for none."""

    one_time: int = 0
    pq: int = 0


@dataclass(frozen=True, slots=True)
class KeyState:
    """What the node holds for a device. `issued_through` are the highest ids ever handed out."""

    one_time: Sequence[OneTimePrekey] = ()
    pq: Sequence[OneTimePrekey] = ()
    signed_prekey_id: int | None = None
    signed_prekey_at: datetime | None = None
    last_resort_uses: int = 0
    issued_through: HighestIds = field(default_factory=HighestIds)

    def digest(self) -> bytes:
        """SHA-256 over the unused one-time prekeys, then the unused PQ ones: id u32be and key bytes, by rising id (api.md section 5)."""
        whole = sha256()
        for prekey in (*self.one_time, *self.pq):
            whole.update(_ID.pack(prekey.id) + prekey.key)
        return whole.digest()


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The long-lived keys of one device with keys."""

    device_id: DeviceId
    registration_id: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """An account's identity key and the devices that share it; no identity before the first upload."""

    user_id: UserId
    suite: Suite | None
    identity_key: bytes | None = field(repr=False)
    epoch: int
    devices: Sequence[DeviceKeys]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What begins a session with one device. The one-time keys in it have left the directory for good."""

    device: DeviceKeys
    signed_prekey: SignedPrekey
    one_time: OneTimePrekey | None
    pq: SignedPrekey
    is_last_resort: bool


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The bundles of a claim, and which mailboxes fell below the low-water mark by it (what they have left)."""

    epoch: int
    bundles: Sequence[Bundle]
    low_counts: Mapping[MailboxKey, HighestIds]
