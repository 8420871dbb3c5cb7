"""Opens the contents of envelopes. The plaintext is stored together with the ratchet or sender key state behind it, in the caller's transaction."""

from dataclasses import dataclass, field
from uuid import UUID

from vyry.client.crypto.device_lists import KnownDevices
from vyry.client.crypto.local_device import LocalDevice, PrekeyStore
from vyry.client.crypto.peers import Peers
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import Entry, decode_bytes
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.client.store.trusted_time import trusted_time
from vyry.signal_protocol.frame import ContentType, content_type
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import Distribution, Generations, SenderKeyScope
from vyry.signal_protocol.sessions import IncomingContent, PeerDevice


_SENDER_KEY_ID = slice(2, 18)


@dataclass(frozen=True, slots=True)
class IncomingEnvelope:
    """An envelope for this device. `at` is when it was received, by this device's clock (ms since 1970)."""

    sender: Address
    conversation_id: UUID
    message_id: UUID
    content: bytes = field(repr=False)
    at: int

    @classmethod
    def from_entry(cls, entry: Entry, now: int) -> "IncomingEnvelope":
        """The envelope of a mailbox entry."""
        sender = Address(UUID(entry["senderId"]), entry["senderDeviceId"])
        return cls(sender, UUID(entry["conversationId"]), UUID(entry["messageId"]), decode_bytes(entry["content"]), now)

    @property
    def sender_key_id(self) -> bytes | None:
        """The sender key that it was sealed under, if it was."""
        return self.content[_SENDER_KEY_ID] if self.content[1:2] == bytes([ContentType.SENDER_KEY]) else None


@dataclass(frozen=True, slots=True)
class SourceSession:
    """The session that a content was sealed in, and the device at its other end."""

    session_id: bytes
    peer: PeerDevice


@dataclass(frozen=True, slots=True)
class OpenedContent:
    """The plaintext, and the session it was sealed in; None: under a sender key."""

    plaintext: bytes = field(repr=False)
    session: SourceSession | None


class EnvelopeOpener:
    """Opens envelopes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._prekeys = PrekeyStore(store)
        self._known = KnownDevices(store)

    def open(self, me: LocalDevice, envelope: IncomingEnvelope) -> OpenedContent:
        """The plaintext of an envelope. Raises a Refusal; then nothing has changed."""
        if content_type(envelope.content) is ContentType.SENDER_KEY:
            scope = SenderKeyScope(envelope.conversation_id, envelope.sender)
            trusted_at = trusted_time(self._store, envelope.at)
            generations, plaintext = self._load_generations(scope).open(
                envelope.content, now=envelope.at, confirmed_now=trusted_at
            )
            self._save_generations(generations)
            return OpenedContent(plaintext, None)
        stored = self._peers.identity_key(envelope.sender.user_id)
        listed, is_ended = self._known.find_device(envelope.sender), self._known.is_ended(envelope.sender)
        trusted_at = trusted_time(self._store, envelope.at)
        arrival = IncomingContent(envelope.sender, envelope.content, envelope.at, stored, listed, is_ended, trusted_at)
        opened = self._peers.sessions(envelope.sender).open(me.protocol_device, arrival, self._prekeys)
        self._peers.save_sessions(envelope.sender, opened.sessions)
        if listed is None:
            self._peers.clear_match(envelope.sender)
        if opened.answered is not None:
            self._prekeys.record_handshake(opened.answered)
            if stored is None:
                self._peers.save_identity(envelope.sender.user_id, opened.answered.peer.identity_key)
        return OpenedContent(opened.plaintext, SourceSession(opened.session_id, opened.peer))

    def accept_sender_key(self, scope: SenderKeyScope, distribution: Distribution, now: int) -> None:
        """Store a sender key that its own device distributed. Raises SenderKeyConflict, BadKey, Malformed."""
        trusted_at = trusted_time(self._store, now)
        self._save_generations(self._load_generations(scope).accept(distribution, now=now, confirmed_now=trusted_at))

    def _load_generations(self, scope: SenderKeyScope) -> Generations:
        packed = self._store.get(kinds.SENDER_KEYS, scope.pack().hex())
        return unpack(Generations, packed) if packed else Generations(scope)

    def _save_generations(self, generations: Generations) -> None:
        self._store.put(kinds.SENDER_KEYS, generations.where.pack().hex(), pack(generations))
