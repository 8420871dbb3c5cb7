"""Sender keys: a message sealed and signed once for a whole group (section 8)."""

import hmac
import secrets
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content, read_bytes
from vyry.signal_protocol.frame import VERSION, ContentType, check_frame, pad, unpad
from vyry.signal_protocol.primitives import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Address,
    SigningPair,
    check_signing_key,
    label,
    seal,
    unseal,
    verify,
)
from vyry.signal_protocol.ratchet import (
    CHAIN_END,
    KEPT_MILLISECONDS,
    MAX_JUMP,
    MAX_KEPT,
    Chain,
    SkippedKey,
    message_secrets,
)
from vyry.signal_protocol.refusals import (
    BadContent,
    BadMessage,
    DuplicateMessage,
    JumpTooFar,
    Malformed,
    SenderKeyConflict,
    SenderKeyUnknown,
)
from vyry.signal_protocol.replay_record import add_record, check_not_opened, group_position


SENDER_KEY_ID_BYTES: Final = 16
HEADER_BYTES: Final = 22
MAX_GENERATIONS: Final = 5
#: A sender makes a new generation after so many messages or milliseconds, and when a reader has left (section 8).
GENERATION_MESSAGES: Final = 10_000
GENERATION_MILLISECONDS: Final = 7 * 86_400_000

_HEADER: Final = struct.Struct(">BB16sI")
_SHORTEST: Final = HEADER_BYTES + TAG_BYTES + SIGNATURE_BYTES
_MESSAGE: Final = label("sender key message")
_SIGNATURE: Final = label("sender key signature")


@dataclass(frozen=True, slots=True)
class SenderKeyScope:
    """The conversation and sender that a sender key belongs to."""

    conversation_id: UUID
    sender: Address

    def pack(self) -> bytes:
        """WHERE, 36 bytes."""
        return self.conversation_id.bytes + self.sender.pack()


@dataclass(frozen=True, slots=True)
class Distribution:
    """A sender key as it is sent to a reader, from its next message on."""

    KIND: ClassVar[str] = "senderKey"

    sender_key_id: bytes
    iteration: int
    chain_key: bytes = field(repr=False)
    signing_key: bytes

    def fields(self) -> dict[str, Any]:
        """The fields of its content."""
        keys = {"chainKey": encode_base64(self.chain_key), "signingKey": encode_base64(self.signing_key)}
        return {"senderKeyId": encode_base64(self.sender_key_id), "iteration": self.iteration, **keys}

    @classmethod
    def read(cls, content: Content) -> Self:
        """The distribution in a content. Raises BadContent."""
        fields, iteration = content.fields, content.fields.get("iteration")
        if content.kind != cls.KIND or type(iteration) is not int or not 0 <= iteration < CHAIN_END:
            raise BadContent
        key_id = read_bytes(fields.get("senderKeyId"), SENDER_KEY_ID_BYTES)
        chain_key, signing_key = (read_bytes(fields.get(name), KEY_BYTES) for name in ("chainKey", "signingKey"))
        return cls(key_id, iteration, chain_key, signing_key)


@dataclass(frozen=True, slots=True)
class SenderKey:
    """A device's own generation in a conversation; `chain.number` is the iteration."""

    where: SenderKeyScope
    sender_key_id: bytes
    signing: SigningPair
    chain: Chain

    @classmethod
    def generate(cls, where: SenderKeyScope) -> Self:
        """A new generation."""
        chain = Chain(secrets.token_bytes(32))
        return cls(where, secrets.token_bytes(SENDER_KEY_ID_BYTES), SigningPair.generate(), chain)

    def distribution(self) -> Distribution:
        """For readers from now on: it opens nothing older."""
        return Distribution(self.sender_key_id, self.chain.number, self.chain.key, self.signing.public)

    def seal(self, plaintext: bytes) -> tuple["SenderKey", bytes]:
        """The next state and the content for all. Raises TooLarge; BadMessage at the end of the chain."""
        padded = pad(plaintext)
        if self.chain.number >= CHAIN_END:
            raise BadMessage
        message_key, chain = self.chain.step()
        header = _HEADER.pack(VERSION, ContentType.SENDER_KEY, self.sender_key_id, self.chain.number)
        key, nonce = sender_message_secrets(message_key)
        body = header + seal(key, nonce, padded, self.where.pack() + header)
        signature = self.signing.sign(_SIGNATURE + self.where.pack() + body)
        return replace(self, chain=chain), body + signature


@dataclass(frozen=True, slots=True, order=True)
class KeyRecipient:
    """A device that may read. An id used again is another device, distinguished by its registration id and, because the node assigns that, by a hash of its keys."""

    address: Address
    registration_id: int
    device_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class OwnSenderKey:
    """An own sender key, when it was made (ms since 1970), and the devices that received it, own other ones included."""

    key: SenderKey
    made_at: int
    told: tuple[KeyRecipient, ...] = ()

    @classmethod
    def generate(cls, where: SenderKeyScope, now: int) -> Self:
        """A new generation without recipients."""
        return cls(SenderKey.generate(where), now)

    def needs_rotation(self, readers: Collection[KeyRecipient], now: int) -> bool:
        """Whether the next message needs a new generation: a device that has this one may no longer read, or it is used up."""
        is_old = now - self.made_at >= GENERATION_MILLISECONDS or self.key.chain.number >= GENERATION_MESSAGES
        return is_old or not set(self.told) <= set(readers)

    def missing_recipients(self, readers: Collection[KeyRecipient]) -> tuple[KeyRecipient, ...]:
        """Devices that have to receive it before the next message."""
        return tuple(sorted(set(readers) - set(self.told)))

    def with_recipients(self, readers: Collection[KeyRecipient]) -> "OwnSenderKey":
        """The key after these devices received it."""
        return replace(self, told=tuple(sorted({*self.told, *readers})))

    def without_recipient(self, address: Address) -> "OwnSenderKey":
        """The key after this device lost it."""
        return replace(self, told=tuple(reader for reader in self.told if reader.address != address))

    def seal(self, plaintext: bytes) -> tuple["OwnSenderKey", bytes]:
        """As SenderKey.seal."""
        key, content = self.key.seal(plaintext)
        return replace(self, key=key), content


@dataclass(frozen=True, slots=True)
class Generation:
    """A sender key as a reader stores it. `skipped` are message keys by iteration, oldest first. Times are ms since 1970."""

    signing_key: bytes
    chain: Chain
    skipped: Mapping[int, SkippedKey] = field(default_factory=dict, repr=False)
    #: Records of recently opened messages (see `replay_record`).
    opened: bytes = field(default=b"", repr=False)
    #: When its last message was opened, or it arrived.
    used_at: int = 0
    #: When the next generation arrived.
    replaced_at: int | None = None

    def has_ended(self, now: int) -> bool:
        """Whether it is to be deleted: 30 days after its last message, or after the next generation arrived."""
        return any(now - at > KEPT_MILLISECONDS for at in (self.used_at, self.replaced_at) if at is not None)

    def without_old_keys(self, now: int) -> "Generation":
        """The generation without keys skipped more than 30 days ago."""
        kept = {iteration: key for iteration, key in self.skipped.items() if now - key.at <= KEPT_MILLISECONDS}
        return self if len(kept) == len(self.skipped) else replace(self, skipped=kept)

    def mark_replaced(self, now: int) -> "Generation":
        """The generation after the next one arrived."""
        return self if self.replaced_at is not None else replace(self, replaced_at=now)

    def step_to(self, iteration: int, content: bytes, now: int) -> tuple["Generation", bytes]:
        """The generation after this message is opened, and its message key. Raises DuplicateMessage, SenderRewound, JumpTooFar."""
        position = group_position(iteration)
        check_not_opened(self.opened, position, content)
        skipped, chain = dict(self.skipped), self.chain
        used = replace(self, opened=add_record(self.opened, position, content), used_at=now)
        if iteration < chain.number:
            if iteration not in skipped:
                raise DuplicateMessage
            message_key = skipped.pop(iteration).message_key
            return replace(used, skipped=skipped), message_key
        if iteration - chain.number > MAX_JUMP or iteration == CHAIN_END:
            raise JumpTooFar
        while chain.number < iteration:
            number = chain.number
            message_key, chain = chain.step()
            skipped[number] = SkippedKey(message_key, now)
        for oldest in list(skipped)[: max(0, len(skipped) - MAX_KEPT)]:
            del skipped[oldest]
        message_key, chain = chain.step()
        return replace(used, chain=chain, skipped=skipped), message_key


@dataclass(frozen=True, slots=True)
class Generations:
    """The sender keys of one device in one conversation, as a reader stores them: at most 5, the oldest first."""

    where: SenderKeyScope
    held: Mapping[bytes, Generation] = field(default_factory=dict)

    def accept(self, distribution: Distribution, *, now: int = 0, confirmed_now: int | None = None) -> "Generations":
        """The generations with this key, which replaces the one before at `now` (ms since 1970). A known key is never rewound. `confirmed_now`: as for `open`. Raises SenderKeyConflict, BadKey, Malformed."""
        known = self.held.get(distribution.sender_key_id)
        if known is not None:
            if not hmac.compare_digest(known.signing_key, distribution.signing_key):
                raise SenderKeyConflict
            return self
        check_signing_key(distribution.signing_key)
        if (
            len(distribution.sender_key_id) != SENDER_KEY_ID_BYTES
            or len(distribution.chain_key) != 32
            or distribution.iteration >= CHAIN_END
        ):
            raise Malformed
        held = {key_id: each.mark_replaced(now) for key_id, each in self.held.items()}
        chain = Chain(distribution.chain_key, distribution.iteration)
        held[distribution.sender_key_id] = Generation(distribution.signing_key, chain, used_at=now)
        for oldest in list(held)[: max(0, len(held) - MAX_GENERATIONS)]:
            del held[oldest]
        return replace(self, held=held).without_old_keys(now if confirmed_now is None else confirmed_now)

    def open(self, content: bytes, *, now: int = 0, confirmed_now: int | None = None) -> tuple["Generations", bytes]:
        """The next state and the plaintext. `now` (ms since 1970) dates what is stored, and deletes what expired after 30 days; the generation of this message is looked up before.

        `confirmed_now` decides about expiry instead of `now` while the clock is in doubt.

        Raises TooLarge, Malformed, UnknownVersion, UnknownType, SenderKeyUnknown, BadSignature, DuplicateMessage, SenderRewound, JumpTooFar, BadMessage, BadPadding.
        """
        check_frame(content, ContentType.SENDER_KEY, _SHORTEST)
        body, signature = content[:-SIGNATURE_BYTES], content[-SIGNATURE_BYTES:]
        _, _, sender_key_id, iteration = _HEADER.unpack_from(body)
        generation = self.held.get(sender_key_id)
        if generation is None:
            raise SenderKeyUnknown
        verify(generation.signing_key, signature, _SIGNATURE + self.where.pack() + body)
        after, message_key = generation.step_to(iteration, content, now)
        key, nonce = sender_message_secrets(message_key)
        associated = self.where.pack() + body[:HEADER_BYTES]
        plaintext = unpad(unseal(key, nonce, body[HEADER_BYTES:], associated))
        known = replace(self, held={**self.held, sender_key_id: after})
        return known.without_old_keys(now if confirmed_now is None else confirmed_now), plaintext

    def without_old_keys(self, now: int) -> "Generations":
        """Without ended generations, and without keys skipped more than 30 days ago."""
        living = {key_id: each.without_old_keys(now) for key_id, each in self.held.items() if not each.has_ended(now)}
        return replace(self, held=living)


def sender_message_secrets(message_key: bytes) -> tuple[bytes, bytes]:
    """AES key and nonce of one group message."""
    return message_secrets(message_key, _MESSAGE)
