"""PQXDH: two devices that never met derive a root key that depends on every address, key and ciphertext (section 4)."""

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Self

from vyry.signal_protocol.frame import MAX_CONTENT, VERSION, ContentType
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice, dh_key_message
from vyry.signal_protocol.primitives import Z32, Address, DhPair, Encapsulated, encapsulate, hkdf, label, verify
from vyry.signal_protocol.refusals import Malformed, TooLarge, UnknownType, UnknownVersion


PREFIX_BYTES: Final = 1_747
#: Prefix, header of the embedded message, tag.
MIN_BYTES: Final = 1_813
SESSION_ID_BYTES: Final = 8

_PREFIX: Final = struct.Struct(">BBBI32s32s64s32sIII1568s")
_ONE_TIME: Final = 1
_LAST_RESORT: Final = 2
_FF32: Final = b"\xff" * 32


@dataclass(frozen=True, slots=True)
class Prefix:
    """The start of every prekey message of a session: what its responder needs to answer."""

    registration_id: int
    identity_key: bytes
    identity_dh_key: bytes
    identity_dh_signature: bytes = field(repr=False)
    ephemeral_key: bytes
    signed_prekey_id: int
    #: 0: none was used.
    one_time_prekey_id: int
    pq_prekey_id: int
    pq_is_last_resort: bool
    pq_ciphertext: bytes = field(repr=False)

    def pack(self) -> bytes:
        """1,747 bytes."""
        flags = (_ONE_TIME if self.one_time_prekey_id else 0) | (_LAST_RESORT if self.pq_is_last_resort else 0)
        return _PREFIX.pack(
            VERSION,
            ContentType.PREKEY,
            flags,
            self.registration_id,
            self.identity_key,
            self.identity_dh_key,
            self.identity_dh_signature,
            self.ephemeral_key,
            self.signed_prekey_id,
            self.one_time_prekey_id,
            self.pq_prekey_id,
            self.pq_ciphertext,
        )

    @classmethod
    def unpack(cls, content: bytes) -> Self:
        """The prefix of a prekey message. Raises UnknownVersion, UnknownType, Malformed."""
        if len(content) < PREFIX_BYTES:
            raise Malformed
        version, kind, flags, registration, identity, dh, signature, ephemeral, signed, one_time, pq, ciphertext = (
            _PREFIX.unpack_from(content)
        )
        if version != VERSION:
            raise UnknownVersion
        if kind != ContentType.PREKEY:
            raise UnknownType
        if flags & ~(_ONE_TIME | _LAST_RESORT) or bool(flags & _ONE_TIME) != bool(one_time):
            raise Malformed
        is_last = bool(flags & _LAST_RESORT)
        return cls(registration, identity, dh, signature, ephemeral, signed, one_time, pq, is_last, ciphertext)

    @property
    def uses_no_one_time_key(self) -> bool:
        """Whether the handshake could be replayed, and so has to be recorded."""
        return not self.one_time_prekey_id and self.pq_is_last_resort


@dataclass(frozen=True, slots=True)
class Handshake:
    """What both sides know after a handshake. `transcript` is public and covers everything; its first 8 bytes name the session."""

    transcript: bytes
    root_key: bytes = field(repr=False)

    @property
    def session_id(self) -> bytes:
        """T[0..8)."""
        return self.transcript[:SESSION_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Prekeys:
    """The private prekeys that a handshake used."""

    signed: DhPrekey
    one_time: DhPrekey | None
    pq: KemPrekey


def split_prekey_message(content: bytes) -> tuple[Prefix, bytes]:
    """Prefix and embedded ratchet message of a prekey message. Raises TooLarge, Malformed, UnknownVersion, UnknownType."""
    if len(content) > MAX_CONTENT:
        raise TooLarge
    if len(content) < MIN_BYTES:
        raise Malformed
    prefix, embedded = Prefix.unpack(content), content[PREFIX_BYTES:]
    if embedded[0] != VERSION:
        raise UnknownVersion
    if embedded[1] != ContentType.RATCHET:
        raise UnknownType
    return prefix, embedded


def begin(
    own: OwnDevice, bundle: Bundle, *, ephemeral: DhPair | None = None, encapsulated: Encapsulated | None = None
) -> tuple[Prefix, Handshake]:
    """Begin a session with the device of a bundle, whose signatures are verified here. Vectors give the randomness. Raises BadKey, BadSignature."""
    bundle.verify()
    ephemeral = ephemeral or DhPair.generate()
    shared = encapsulated or encapsulate(bundle.pq_prekey.key)
    one_time = bundle.one_time_prekey
    prefix = Prefix(
        own.registration_id,
        own.identity.public,
        own.dh.public,
        own.dh_signature(),
        ephemeral.public,
        bundle.signed_prekey.id,
        one_time.id if one_time else 0,
        bundle.pq_prekey.id,
        bundle.pq_is_last_resort,
        shared.ciphertext,
    )
    published = bundle.identity_key, bundle.identity_dh_key, bundle.signed_prekey.key
    keys = (*published, one_time.key if one_time else Z32, bundle.pq_prekey.key)
    transcript = _transcript(own.address, bundle.address, keys, prefix)
    secrets = [
        own.dh.agree(bundle.signed_prekey.key),
        ephemeral.agree(bundle.identity_dh_key),
        ephemeral.agree(bundle.signed_prekey.key),
        *([ephemeral.agree(one_time.key)] if one_time else []),
    ]
    return prefix, Handshake(transcript, _root_key(secrets, shared.secret, transcript))


def answer(own: OwnDevice, initiator: Address, prefix: Prefix, prekeys: Prekeys) -> Handshake:
    """The handshake of this prefix, from the responder's side. Raises BadKey, BadSignature."""
    verify(
        prefix.identity_key, prefix.identity_dh_signature, dh_key_message(prefix.identity_key, prefix.identity_dh_key)
    )
    signed, one_time = prekeys.signed.pair, prekeys.one_time.pair if prekeys.one_time else None
    published = own.identity.public, own.dh.public, signed.public
    keys = (*published, one_time.public if one_time else Z32, prekeys.pq.pair.public)
    transcript = _transcript(initiator, own.address, keys, prefix)
    secrets = [
        signed.agree(prefix.identity_dh_key),
        own.dh.agree(prefix.ephemeral_key),
        signed.agree(prefix.ephemeral_key),
        *([one_time.agree(prefix.ephemeral_key)] if one_time else []),
    ]
    shared = prekeys.pq.pair.decapsulate(prefix.pq_ciphertext)
    return Handshake(transcript, _root_key(secrets, shared, transcript))


def _transcript(initiator: Address, responder: Address, keys: tuple[bytes, ...], prefix: Prefix) -> bytes:
    """T. `keys` are the responder's: identity, identity DH, signed prekey, one-time prekey or zeros, PQ prekey."""
    whole = (label("session"), initiator.pack(), responder.pack(), *keys, prefix.pack())
    return sha256(b"".join(whole)).digest()


def _root_key(secrets: list[bytes], shared: bytes, transcript: bytes) -> bytes:
    return hkdf(Z32, _FF32 + b"".join(secrets) + shared, label("pqxdh") + transcript, 32)
