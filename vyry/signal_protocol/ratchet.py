"""The Double Ratchet (section 5; the specification's revision 4, without header encryption and without its Triple Ratchet). A state is a frozen value: sealing and opening return the next.

A crash between two steps cannot fork a ratchet as long as the next state is stored before the content is sent.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Self

from vyry.signal_protocol.frame import VERSION, ContentType, check_frame, pad, unpad
from vyry.signal_protocol.handshake import SESSION_ID_BYTES, Handshake
from vyry.signal_protocol.primitives import TAG_BYTES, Z32, DhPair, hkdf, label, mac, seal, unseal
from vyry.signal_protocol.refusals import BadMessage, DuplicateMessage, JumpTooFar
from vyry.signal_protocol.replay_record import add_record, check_not_opened, ratchet_position


HEADER_BYTES: Final = 50
MAX_JUMP: Final = 1_000
MAX_KEPT: Final = 2_000
MAX_EARLIER: Final = 50
#: The number that no chain reaches.
CHAIN_END: Final = 2**32 - 1
KEPT_MILLISECONDS: Final = 30 * 86_400_000

_HEADER: Final = struct.Struct(">BB8s32sII")
_ROOT: Final = label("root")
_MESSAGE: Final = label("message")


@dataclass(frozen=True, slots=True)
class Chain:
    """One direction between two DH steps: the key of its next message, and that message's number."""

    key: bytes = field(repr=False)
    number: int = 0

    def step(self) -> tuple[bytes, "Chain"]:
        """The key of the next message, and the chain after it."""
        return mac(self.key, b"\x01"), Chain(mac(self.key, b"\x02"), self.number + 1)


@dataclass(frozen=True, slots=True)
class SkippedKey:
    """The key of a message that has not arrived, and when it was skipped (ms since 1970)."""

    message_key: bytes = field(repr=False)
    at: int


SkippedKeys = Mapping[tuple[bytes, int], SkippedKey]


@dataclass(frozen=True, slots=True)
class Ratchet:
    """One side of a session. `kept` has skipped message keys by (ratchet key, number), oldest first."""

    transcript: bytes
    root_key: bytes = field(repr=False)
    own: DhPair
    theirs: bytes | None = None
    sending: Chain | None = None
    receiving: Chain | None = None
    previous: int = 0
    earlier: tuple[bytes, ...] = ()
    kept: SkippedKeys = field(default_factory=dict, repr=False)
    #: Records of recently opened messages (see `replay_record`).
    opened: bytes = field(default=b"", repr=False)

    @classmethod
    def initiator(
        cls, handshake: Handshake, signed_prekey: bytes, fresh: Callable[[], DhPair] = DhPair.generate
    ) -> Self:
        """The side that began: it can send at once."""
        own = fresh()
        root_key, chain = _dh_step(handshake.root_key, own, signed_prekey)
        return cls(handshake.transcript, root_key, own, signed_prekey, sending=chain)

    @classmethod
    def responder(cls, handshake: Handshake, signed_prekey: DhPair) -> Self:
        """The other side: it can send once it has opened a message."""
        return cls(handshake.transcript, handshake.root_key, signed_prekey)

    @property
    def session_id(self) -> bytes:
        """The id of the session on the wire."""
        return self.transcript[:SESSION_ID_BYTES]

    def seal(self, plaintext: bytes) -> tuple["Ratchet", bytes]:
        """The next state and the content of a ratchet message. Raises TooLarge; BadMessage before a first message was opened, or at the end of the chain."""
        padded = pad(plaintext)
        if self.sending is None or self.sending.number >= CHAIN_END:
            raise BadMessage
        message_key, chain = self.sending.step()
        header = _HEADER.pack(
            VERSION, ContentType.RATCHET, self.session_id, self.own.public, self.previous, self.sending.number
        )
        key, nonce = message_secrets(message_key)
        return replace(self, sending=chain), header + seal(key, nonce, padded, self.transcript + header)

    def open(
        self, content: bytes, *, now: int = 0, fresh: Callable[[], DhPair] = DhPair.generate
    ) -> tuple["Ratchet", bytes]:
        """The next state and the plaintext. `now` (ms since 1970) dates skipped keys.

        Raises TooLarge, Malformed, UnknownVersion, UnknownType, BadMessage, BadPadding, BadKey, DuplicateMessage, SenderRewound, JumpTooFar; the state stays unchanged.
        """
        check_frame(content, ContentType.RATCHET, HEADER_BYTES + TAG_BYTES)
        _, _, session_id, ratchet_key, previous, number = _HEADER.unpack_from(content)
        if session_id != self.session_id or number == CHAIN_END:
            raise BadMessage
        position = ratchet_position(ratchet_key, number)
        check_not_opened(self.opened, position, content)
        opened_record = partial(add_record, self.opened, position, content)
        skipped_key = self.kept.get((ratchet_key, number))
        if skipped_key is not None:
            remaining = {
                position_key: key for position_key, key in self.kept.items() if position_key != (ratchet_key, number)
            }
            plaintext = self._unseal(content, skipped_key.message_key)
            return replace(self, kept=remaining, opened=opened_record()), plaintext
        if ratchet_key in self.earlier:
            raise DuplicateMessage
        is_turn = ratchet_key != self.theirs
        state = self._receive_ratchet_key(ratchet_key, previous, now) if is_turn else self
        if state.receiving is None:
            raise BadMessage
        if number < state.receiving.number:
            raise DuplicateMessage
        skipped = _skip_keys(state, number, now)
        assert skipped.receiving is not None
        message_key, chain = skipped.receiving.step()
        plaintext = self._unseal(content, message_key)
        after = replace(skipped, receiving=chain, opened=opened_record())
        return (_step_sending(after, fresh) if is_turn else after), plaintext

    def without_old_keys(self, now: int) -> "Ratchet":
        """The state without keys skipped more than 30 days ago."""
        if all(now - key.at <= KEPT_MILLISECONDS for key in self.kept.values()):
            return self
        young = {position: key for position, key in self.kept.items() if now - key.at <= KEPT_MILLISECONDS}
        return replace(self, kept=young)

    def _unseal(self, content: bytes, message_key: bytes) -> bytes:
        header, sealed = content[:HEADER_BYTES], content[HEADER_BYTES:]
        key, nonce = message_secrets(message_key)
        return unpad(unseal(key, nonce, sealed, self.transcript + header))

    def _receive_ratchet_key(self, ratchet_key: bytes, previous: int, now: int) -> "Ratchet":
        """A new ratchet key of the peer: skip what remains of its old chain, and receive under the new key."""
        before = _skip_keys(self, previous, now)
        root_key, receiving = _dh_step(before.root_key, before.own, ratchet_key)
        earlier = (*before.earlier, *([before.theirs] if before.theirs else []))[-MAX_EARLIER:]
        return replace(before, root_key=root_key, theirs=ratchet_key, receiving=receiving, earlier=earlier)


def _step_sending(state: Ratchet, fresh: Callable[[], DhPair]) -> Ratchet:
    """The next sending chain. Only called for a message that opened, so a refused one uses up no key."""
    assert state.theirs is not None
    own = fresh()
    root_key, sending = _dh_step(state.root_key, own, state.theirs)
    previous = state.sending.number if state.sending else 0
    return replace(state, root_key=root_key, own=own, sending=sending, previous=previous)


def _skip_keys(state: Ratchet, number: int, now: int) -> Ratchet:
    """The state with the keys of all messages before `number` in its receiving chain skipped. Raises JumpTooFar."""
    chain, theirs = state.receiving, state.theirs
    if chain is None or theirs is None or number <= chain.number:
        return state
    if number - chain.number > MAX_JUMP:
        raise JumpTooFar
    kept = dict(state.kept)
    while chain.number < number:
        position = (theirs, chain.number)
        message_key, chain = chain.step()
        kept[position] = SkippedKey(message_key, now)
    for position in list(kept)[: max(0, len(kept) - MAX_KEPT)]:
        del kept[position]
    return replace(state, receiving=chain, kept=kept)


def message_secrets(message_key: bytes, words: bytes = _MESSAGE) -> tuple[bytes, bytes]:
    """AES key and nonce of one message."""
    both = hkdf(Z32, message_key, words, 44)
    return both[:32], both[32:]


def _dh_step(root_key: bytes, own: DhPair, theirs: bytes) -> tuple[bytes, Chain]:
    """A DH step: the next root key, and the new chain."""
    both = hkdf(root_key, own.agree(theirs), _ROOT, 64)
    return both[:32], Chain(both[32:])
