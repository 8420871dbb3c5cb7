"""Contents of envelopes, opened: what comes out is kept together with the ratchet or sender key behind it, in the caller's transaction."""

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
    """An envelope for this device. `at` is when it came (ms since 1970)."""

    sender: Address
    conversation_id: UUID
    message_id: UUID
    content: bytes = field(repr=False)
    at: int

    @classmethod
    def from_entry(cls, entry: Entry, now: int) -> "IncomingEnvelope":
        """The envelope of an entry of the mailbox."""
        sender = Address(UUID(entry["senderId"]), entry["senderDeviceId"])
        return cls(sender, UUID(entry["conversationId"]), UUID(entry["messageId"]), decode_bytes(entry["content"]), now)

    @property
    def sender_key_id(self) -> bytes | None:
        """Under which sender key it was written, if it was."""
        return self.content[_SENDER_KEY_ID] if self.content[1:2] == bytes([ContentType.SENDER_KEY]) else None


@dataclass(frozen=True, slots=True)
class SourceSession:
    """The session that a content came in, and the device that it is with."""

    session_id: bytes
    peer: PeerDevice


@dataclass(frozen=True, slots=True)
class OpenedContent:
    """What was in it, and in which session it came; None: under a sender key."""

    plaintext: bytes = field(repr=False)
    session: SourceSession | None


class EnvelopeOpener:
    """Opens letters."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._prekeys = PrekeyStore(store)
        self._known = KnownDevices(store)

    def open(self, me: LocalDevice, letter: IncomingEnvelope) -> OpenedContent:
        """What was in it. Raises a Refusal; then nothing has changed."""
        if content_type(letter.content) is ContentType.SENDER_KEY:
            where = SenderKeyScope(letter.conversation_id, letter.sender)
            sure_at = trusted_time(self._store, letter.at)
            generations, plaintext = self._load_generations(where).open(letter.content, now=letter.at, sure_at=sure_at)
            self._save_generations(generations)
            return OpenedContent(plaintext, None)
        held = self._peers.identity_key(letter.sender.user_id)
        listed, is_ended = self._known.find_device(letter.sender), self._known.is_ended(letter.sender)
        sure_at = trusted_time(self._store, letter.at)
        arrival = IncomingContent(letter.sender, letter.content, letter.at, held, listed, is_ended, sure_at)
        opened = self._peers.sessions(letter.sender).open(me.protocol_device, arrival, self._prekeys)
        self._peers.save_sessions(letter.sender, opened.sessions)
        if listed is None:
            self._peers.clear_match(letter.sender)
        if opened.answered is not None:
            self._prekeys.record_handshake(opened.answered)
            if held is None:
                self._peers.save_identity(letter.sender.user_id, opened.answered.peer.identity_key)
        return OpenedContent(opened.plaintext, SourceSession(opened.session_id, opened.peer))

    def accept_sender_key(self, where: SenderKeyScope, told: Distribution, now: int) -> None:
        """Hold a sender key that its own device told. Raises SenderKeyConflict, BadKey, Malformed."""
        sure_at = trusted_time(self._store, now)
        self._save_generations(self._load_generations(where).accept(told, now=now, sure_at=sure_at))

    def _load_generations(self, where: SenderKeyScope) -> Generations:
        kept = self._store.get(kinds.SENDER_KEYS, where.pack().hex())
        return unpack(Generations, kept) if kept else Generations(where)

    def _save_generations(self, generations: Generations) -> None:
        self._store.put(kinds.SENDER_KEYS, generations.where.pack().hex(), pack(generations))
