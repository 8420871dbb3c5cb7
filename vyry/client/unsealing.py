"""Contents of envelopes, opened: what comes out is kept together with the ratchet or sender key behind it, in the caller's transaction."""

from dataclasses import dataclass, field
from uuid import UUID

from vyry.client.chain import Entry, octets
from vyry.client.device import KeptPrekeys, Me
from vyry.client.device_lists import KnownDevices
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers
from vyry.client.store import Store
from vyry.client.sure_time import sure_time
from vyry.signal_protocol.frame import ContentType, type_of
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import Distribution, Generations, Where
from vyry.signal_protocol.sessions import Arrival, PeerDevice


_SENDER_KEY_ID = slice(2, 18)


@dataclass(frozen=True, slots=True)
class Letter:
    """An envelope for this device. `at` is when it came (ms since 1970)."""

    sender: Address
    conversation_id: UUID
    message_id: UUID
    content: bytes = field(repr=False)
    at: int

    @classmethod
    def of(cls, entry: Entry, now: int) -> "Letter":
        """The envelope of an entry of the mailbox."""
        sender = Address(UUID(entry["senderId"]), entry["senderDeviceId"])
        return cls(sender, UUID(entry["conversationId"]), UUID(entry["messageId"]), octets(entry["content"]), now)

    @property
    def sender_key_id(self) -> bytes | None:
        """Under which sender key it was written, if it was."""
        return self.content[_SENDER_KEY_ID] if self.content[1:2] == bytes([ContentType.SENDER_KEY]) else None

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.message_id}/{self.sender.user_id}/{self.sender.device_id}"


@dataclass(frozen=True, slots=True)
class Heard:
    """The session that a content came in, and the device that it is with."""

    session_id: bytes
    peer: PeerDevice


@dataclass(frozen=True, slots=True)
class Unsealed:
    """What was in it, and in which session it came; None: under a sender key."""

    plaintext: bytes = field(repr=False)
    session: Heard | None


class Unsealing:
    """Opens letters."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._prekeys = KeptPrekeys(store)
        self._known = KnownDevices(store)

    def open(self, me: Me, letter: Letter) -> Unsealed:
        """What was in it. Raises a Refusal; then nothing has changed."""
        if type_of(letter.content) is ContentType.SENDER_KEY:
            where = Where(letter.conversation_id, letter.sender)
            sure_at = sure_time(self._store, letter.at)
            generations, plaintext = self._generations(where).open(letter.content, now=letter.at, sure_at=sure_at)
            self._keep(generations)
            return Unsealed(plaintext, None)
        held = self._peers.identity(letter.sender.user_id)
        listed, is_ended = self._known.listed(letter.sender), self._known.is_ended(letter.sender)
        sure_at = sure_time(self._store, letter.at)
        arrival = Arrival(letter.sender, letter.content, letter.at, held, listed, is_ended, sure_at)
        opened = self._peers.sessions(letter.sender).open(me.own, arrival, self._prekeys)
        self._peers.keep_sessions(letter.sender, opened.sessions)
        if listed is None:
            self._peers.unmeet(letter.sender)
        if opened.answered is not None:
            self._prekeys.note(opened.answered)
            if held is None:
                self._peers.keep_identity(letter.sender.user_id, opened.answered.peer.identity_key)
        return Unsealed(opened.plaintext, Heard(opened.session_id, opened.peer))

    def accept(self, where: Where, told: Distribution, now: int) -> None:
        """Hold a sender key that its own device told. Raises SenderKeyConflict, BadKey, Malformed."""
        sure_at = sure_time(self._store, now)
        self._keep(self._generations(where).accept(told, now=now, sure_at=sure_at))

    def _generations(self, where: Where) -> Generations:
        kept = self._store.get("sender keys", where.pack().hex())
        return unpack(Generations, kept) if kept else Generations(where)

    def _keep(self, generations: Generations) -> None:
        self._store.put("sender keys", generations.where.pack().hex(), pack(generations))
