"""Keys of a device, public and private, and the signatures that bind them to it (sections 2 and 3)."""

import struct
from dataclasses import dataclass, field
from typing import Final

from vyry.signal_protocol.primitives import (
    KEM_KEY_BYTES,
    Address,
    DhPair,
    KemPair,
    SigningPair,
    label,
    verify,
)
from vyry.signal_protocol.refusals import BadKey, Malformed


MAX_ID: Final = 2**31 - 1
_ID: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class PublicPrekey:
    """A published X25519 or KEM prekey; one-time X25519 keys have no signature."""

    id: int
    key: bytes = field(repr=False)
    signature: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The keys that a claim returns to begin a session with one device."""

    address: Address
    registration_id: int
    identity_key: bytes
    identity_dh_key: bytes
    identity_dh_signature: bytes = field(repr=False)
    signed_prekey: PublicPrekey
    one_time_prekey: PublicPrekey | None
    pq_prekey: PublicPrekey
    pq_is_last_resort: bool

    def verify(self) -> None:
        """Check that the identity key signed all of it for this device. Raises BadKey, BadSignature, Malformed (an id out of range)."""
        prekeys = [self.signed_prekey, self.pq_prekey, *([self.one_time_prekey] if self.one_time_prekey else [])]
        if not all(1 <= prekey.id <= MAX_ID for prekey in prekeys):
            raise Malformed
        if len(self.pq_prekey.key) != KEM_KEY_BYTES:
            raise BadKey
        signed = self.signed_prekey
        pq_words = PQ_LAST_RESORT if self.pq_is_last_resort else PQ_ONE_TIME
        for signature, message in (
            (self.identity_dh_signature, dh_key_message(self.identity_key, self.identity_dh_key)),
            (signed.signature, prekey_message(SIGNED, self.identity_dh_key, signed.id, signed.key)),
            (
                self.pq_prekey.signature,
                prekey_message(pq_words, self.identity_dh_key, self.pq_prekey.id, self.pq_prekey.key),
            ),
        ):
            verify(self.identity_key, signature or b"", message)


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """This device's long-term keys."""

    address: Address
    registration_id: int
    identity: SigningPair
    dh: DhPair

    def dh_signature(self) -> bytes:
        """IdentityDhSignature."""
        return self.identity.sign(dh_key_message(self.identity.public, self.dh.public))


@dataclass(frozen=True, slots=True)
class DhPrekey:
    """A private X25519 prekey."""

    id: int
    pair: DhPair

    def unsigned(self) -> PublicPrekey:
        """The public half as one-time prekey: a forged one makes the handshake fail, and reveals nothing."""
        return PublicPrekey(self.id, self.pair.public)

    def publish(self, owner: OwnDevice) -> PublicPrekey:
        """The public half as signed prekey of this device."""
        message = prekey_message(SIGNED, owner.dh.public, self.id, self.pair.public)
        return PublicPrekey(self.id, self.pair.public, owner.identity.sign(message))


@dataclass(frozen=True, slots=True)
class KemPrekey:
    """A private ML-KEM prekey."""

    id: int
    pair: KemPair
    is_last_resort: bool = False

    def publish(self, owner: OwnDevice) -> PublicPrekey:
        """The public half, signed for this device."""
        words = PQ_LAST_RESORT if self.is_last_resort else PQ_ONE_TIME
        message = prekey_message(words, owner.dh.public, self.id, self.pair.public)
        return PublicPrekey(self.id, self.pair.public, owner.identity.sign(message))


SIGNED: Final = "signed prekey"
PQ_ONE_TIME: Final = "pq one-time prekey"
PQ_LAST_RESORT: Final = "pq last-resort prekey"


def dh_key_message(identity_key: bytes, dh_key: bytes) -> bytes:
    """The message that identityDhSignature signs."""
    return label("identity dh") + identity_key + dh_key


def prekey_message(words: str, dh_key: bytes, prekey_id: int, key: bytes) -> bytes:
    """The message that a prekey's signature signs; the DH key binds it to one device."""
    return label(words) + dh_key + _ID.pack(prekey_id) + key
