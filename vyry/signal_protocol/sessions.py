"""The sessions with one device: one active, a few archived (section 7). All states are values: each operation returns the next.

A client that stores the next value before it sends a content, and together with a plaintext before it acknowledges that, can crash anywhere.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Protocol

from vyry.signal_protocol.frame import ContentType, content_type
from vyry.signal_protocol.handshake import (
    SESSION_ID_BYTES,
    Handshake,
    Prefix,
    Prekeys,
    answer,
    begin,
    split_prekey_message,
)
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, Encapsulated
from vyry.signal_protocol.ratchet import Ratchet
from vyry.signal_protocol.refusals import (
    BadMessage,
    IdentityChanged,
    Malformed,
    PrekeyReplayed,
    PrekeyUnknown,
    SessionUnknown,
    UnknownType,
)


MAX_ARCHIVED: Final = 5
_DAY: Final = 86_400_000
#: Milliseconds after which a session without an answer, or since its last answer, is replaced by a new handshake.
UNANSWERED_MS: Final = 30 * _DAY
STALE_MS: Final = 90 * _DAY
#: Milliseconds for which late mail of a replaced device is opened: as long as mail can wait.
LATE_MS: Final = 30 * _DAY
_SESSION_ID: Final = slice(2, 2 + SESSION_ID_BYTES)


class PrekeyProvider(Protocol):
    """The private prekeys of this device; None for one that is not stored (any more)."""

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        """A signed prekey."""
        ...

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        """A one-time prekey."""
        ...

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """A PQ prekey: one-time and last-resort ones are counted separately."""
        ...

    def has_answered(self, transcript: bytes) -> bool:
        """Whether the replay record has this handshake."""
        ...


@dataclass(frozen=True, slots=True)
class HandshakeRandomness:
    """The randomness of a handshake, as far as vectors give it: the ephemeral key, the encapsulation, and the source of the first ratchet key."""

    ephemeral: DhPair | None = None
    encapsulated: Encapsulated | None = None
    fresh: Callable[[], DhPair] = DhPair.generate


@dataclass(frozen=True, slots=True)
class PeerDevice:
    """The device at the other end of a session: the keys and the registration id of its handshake. A device id alone proves nothing: the node assigns it."""

    identity_key: bytes
    dh_key: bytes
    registration_id: int


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `prefix` is the own one until the first answer; `prefix_hash` is of the peer's, when it began. Times are ms since 1970.

    `ended_at`: since when another device is listed under the peer's id. Such a session opens late mail for 30 days and seals nothing.
    """

    ratchet: Ratchet
    peer: PeerDevice
    began_at: int
    prefix: bytes | None = field(default=None, repr=False)
    prefix_hash: bytes | None = None
    answered_at: int | None = None
    ended_at: int | None = None

    @property
    def session_id(self) -> bytes:
        """The id on the wire."""
        return self.ratchet.session_id

    @property
    def is_unanswered(self) -> bool:
        """Whether this device began it, and nothing was received in it yet."""
        return self.prefix is not None

    def needs_handshake(self, now: int) -> bool:
        """Whether the session is so old that a new handshake should replace it."""
        if self.is_unanswered:
            return now - self.began_at > UNANSWERED_MS
        return now - (self.answered_at or self.began_at) > STALE_MS


@dataclass(frozen=True, slots=True)
class AcceptedHandshake:
    """A handshake that was just answered: what to delete, and to record, in the transaction that stores the sessions."""

    peer: PeerDevice
    signed_prekey_id: int
    #: 0: none.
    one_time_prekey_id: int
    pq_prekey_id: int
    pq_is_last_resort: bool
    #: Recorded with the signed prekey, when no one-time key was used.
    replay: bytes | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The plaintext of a content, and the sessions after it."""

    sessions: "Sessions"
    session_id: bytes
    peer: PeerDevice
    plaintext: bytes = field(repr=False)
    answered: AcceptedHandshake | None = None


@dataclass(frozen=True, slots=True)
class IncomingContent:
    """A received content. `identity_key` is the one stored for its sender's account, None before first contact; `listed` is the device that a verified list has under the sender's id, None without a list; `is_ended`: the list has none."""

    sender: Address
    content: bytes = field(repr=False)
    at: int
    identity_key: bytes | None = None
    listed: PeerDevice | None = None
    is_ended: bool = False
    #: The time for key expiry while the clock is in doubt; `at` unless given.
    trusted_at: int | None = None

    @property
    def expire_keys_before(self) -> int:
        """Keys that had expired by then are deleted."""
        return self.at if self.trusted_at is None else self.trusted_at

    def is_current(self, peer: PeerDevice) -> bool:
        """Whether a session with this device may be used for sending."""
        return not self.is_ended and self.listed in (None, peer)


@dataclass(frozen=True, slots=True)
class Sessions:
    """All sessions with one device, the archived ones newest first."""

    active: Session | None = None
    archived: tuple[Session, ...] = ()

    def needs_bundle(self, now: int) -> bool:
        """Whether a bundle has to be claimed before the next content is sealed."""
        return self.active is None or self.active.needs_handshake(now)

    def begin(
        self,
        own: OwnDevice,
        bundle: Bundle,
        now: int,
        *,
        identity_key: bytes | None = None,
        drawn: HandshakeRandomness | None = None,
    ) -> "Sessions":
        """A new session with the device of this bundle becomes the active one. `identity_key` is the one stored for its account, None before first contact. Vectors give the randomness.

        Raises IdentityChanged, BadKey, BadSignature, Malformed.
        """
        if identity_key not in (None, bundle.identity_key):
            raise IdentityChanged
        drawn = drawn or HandshakeRandomness()
        prefix, handshake = begin(own, bundle, ephemeral=drawn.ephemeral, encapsulated=drawn.encapsulated)
        ratchet = Ratchet.initiator(handshake, bundle.signed_prekey.key, drawn.fresh)
        return self._activated(Session(ratchet, peer_device(bundle), now, prefix=prefix.pack()))

    def seal(self, plaintext: bytes) -> tuple["Sessions", bytes]:
        """The next value, and the content. Raises SessionUnknown without an active session, TooLarge."""
        if self.active is None:
            raise SessionUnknown
        ratchet, message = self.active.ratchet.seal(plaintext)
        return replace(self, active=replace(self.active, ratchet=ratchet)), (self.active.prefix or b"") + message

    def open(
        self,
        own: OwnDevice,
        arrival: IncomingContent,
        prekeys: PrekeyProvider,
        *,
        fresh: Callable[[], DhPair] = DhPair.generate,
    ) -> Opened:
        """Open a prekey or ratchet message. Raises a Refusal; then nothing has changed, and nothing is to be stored.

        A session of another identity than the stored one opens nothing (SessionUnknown); one with another device than the listed one never becomes active.
        Expired keys and sessions open nothing, and the result has none: keys skipped more than 30 days ago, and sessions with devices that ended 30 days ago.
        """
        known = self._without_old_keys(arrival.expire_keys_before)
        match content_type(arrival.content):
            case ContentType.RATCHET:
                return known._open_known(arrival, fresh)  # noqa: SLF001  of the same class
            case ContentType.PREKEY:
                return known._open_prekey(own, arrival, prekeys, fresh)  # noqa: SLF001
            case _:
                raise UnknownType

    def _without_old_keys(self, now: int) -> "Sessions":
        """Without keys skipped more than 30 days ago, and without sessions with devices that ended 30 days ago."""
        active, *archived = (
            each and replace(each, ratchet=each.ratchet.without_old_keys(now)) for each in (self.active, *self.archived)
        )
        return Sessions(active, tuple(each for each in archived if each and now - (each.ended_at or now) <= LATE_MS))

    def retire_unlisted(self, listed: PeerDevice, now: int) -> "Sessions":
        """Only sessions with the listed device may be active; those with another device under its id open late mail for 30 days."""
        is_replaced = self.active is not None and self.active.peer != listed
        known = self.archive() if is_replaced else self
        return replace(known, archived=tuple(_mark_ended(each, listed, now) for each in known.archived))

    def restrict_to_identity(self, identity_key: bytes) -> "Sessions":
        """Without the sessions of any other identity: that key was replaced, and nothing of it is opened again."""
        kept = [each for each in self._all() if each.peer.identity_key == identity_key]
        return Sessions(
            self.active if self.active in kept else None, tuple(each for each in kept if each != self.active)
        )

    def activate(self, session_id: bytes) -> "Sessions":
        """Make the session in which a `retry` or `resync` arrived the active one, whatever the tie-break of simultaneous sessions chose, unless its device has ended. Raises SessionUnknown."""
        session = self._require(session_id)
        return self if session.ended_at is not None else self._activated(session)

    def archive(self) -> "Sessions":
        """Without an active session: the next content begins a new one."""
        if self.active is None:
            return self
        return Sessions(None, (self.active, *self.archived)[:MAX_ARCHIVED])

    def _open_known(self, arrival: IncomingContent, fresh: Callable[[], DhPair]) -> Opened:
        if len(arrival.content) < _SESSION_ID.stop:
            raise Malformed
        session = self._require(arrival.content[_SESSION_ID])
        if arrival.identity_key not in (None, session.peer.identity_key):
            raise SessionUnknown
        ratchet, plaintext = session.ratchet.open(arrival.content, now=arrival.at, fresh=fresh)
        answered = replace(session, ratchet=ratchet, prefix=None, answered_at=arrival.at)
        after = self._activated(answered) if arrival.is_current(session.peer) else self._replaced(answered)
        return Opened(after, answered.session_id, answered.peer, plaintext)

    def _open_prekey(
        self, own: OwnDevice, arrival: IncomingContent, provider: PrekeyProvider, fresh: Callable[[], DhPair]
    ) -> Opened:
        prefix, message = split_prekey_message(arrival.content)
        if arrival.identity_key not in (None, prefix.identity_key):
            raise IdentityChanged
        prefix_hash = sha256(prefix.pack()).digest()
        known = self._find(message[_SESSION_ID])
        if known is not None:
            # A session that this device began, or one with another prefix: the message is forged.
            if not hmac.compare_digest(known.prefix_hash or b"", prefix_hash):
                raise BadMessage
            ratchet, plaintext = known.ratchet.open(message, now=arrival.at, fresh=fresh)
            return Opened(self._replaced(replace(known, ratchet=ratchet)), known.session_id, known.peer, plaintext)
        prekeys = find_prekeys(prefix, provider)
        handshake = answer(own, arrival.sender, prefix, prekeys)
        if provider.has_answered(handshake.transcript):
            raise PrekeyReplayed
        # A message of another session id than this handshake makes is a BadMessage of the ratchet.
        ratchet, plaintext = Ratchet.responder(handshake, prekeys.signed.pair).open(
            message, now=arrival.at, fresh=fresh
        )
        peer = PeerDevice(prefix.identity_key, prefix.identity_dh_key, prefix.registration_id)
        session = Session(ratchet, peer, arrival.at, prefix_hash=prefix_hash, answered_at=arrival.at)
        after = (
            self._resolve_simultaneous(session)
            if arrival.is_current(peer)
            else self._archived(replace(session, ended_at=arrival.at))
        )
        return Opened(after, session.session_id, peer, plaintext, _accepted(peer, prefix, handshake))

    def _resolve_simultaneous(self, fresh: Session) -> "Sessions":
        """A session that the peer began becomes active; when both began at once, the one with the smaller id does, on both sides."""
        active = self.active
        if active is not None and active.is_unanswered and active.session_id < fresh.session_id:
            return self._archived(fresh)
        return self._activated(fresh)

    def _archived(self, fresh: Session) -> "Sessions":
        return replace(self, archived=(fresh, *self.archived)[:MAX_ARCHIVED])

    def _activated(self, session: Session) -> "Sessions":
        others = tuple(each for each in self._all() if each.session_id != session.session_id)
        return Sessions(session, others[:MAX_ARCHIVED])

    def _replaced(self, session: Session) -> "Sessions":
        if self.active is not None and self.active.session_id == session.session_id:
            return replace(self, active=session)
        archived = tuple(session if each.session_id == session.session_id else each for each in self.archived)
        return replace(self, archived=archived)

    def _all(self) -> tuple[Session, ...]:
        return (self.active, *self.archived) if self.active is not None else self.archived

    def _find(self, session_id: bytes) -> Session | None:
        return next((each for each in self._all() if each.session_id == session_id), None)

    def _require(self, session_id: bytes) -> Session:
        found = self._find(session_id)
        if found is None:
            raise SessionUnknown
        return found


def peer_device(bundle: Bundle) -> PeerDevice:
    """The device of a bundle."""
    return PeerDevice(bundle.identity_key, bundle.identity_dh_key, bundle.registration_id)


def find_prekeys(prefix: Prefix, provider: PrekeyProvider) -> Prekeys:
    """The private prekeys that a handshake used. Raises PrekeyUnknown."""
    signed = provider.signed_prekey(prefix.signed_prekey_id)
    pq = provider.pq_prekey(prefix.pq_prekey_id, is_last_resort=prefix.pq_is_last_resort)
    one_time = provider.one_time_prekey(prefix.one_time_prekey_id) if prefix.one_time_prekey_id else None
    if signed is None or pq is None or (prefix.one_time_prekey_id and one_time is None):
        raise PrekeyUnknown
    return Prekeys(signed, one_time, pq)


def _mark_ended(session: Session, listed: PeerDevice, now: int) -> Session:
    if session.peer == listed:
        return replace(session, ended_at=None)
    return replace(session, ended_at=session.ended_at or now)


def _accepted(peer: PeerDevice, prefix: Prefix, handshake: Handshake) -> AcceptedHandshake:
    return AcceptedHandshake(
        peer,
        prefix.signed_prekey_id,
        prefix.one_time_prekey_id,
        prefix.pq_prekey_id,
        prefix.pq_is_last_resort,
        handshake.transcript if prefix.uses_no_one_time_key else None,
    )
