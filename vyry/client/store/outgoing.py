"""What is to be sent, as it is kept until the node has it, and what was sent, kept for those who could not read it (docs/signal-protocol.md, "Retry")."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.retries import MAX_SENT, SENT_MILLISECONDS, may_resend
from vyry.signal_protocol.sessions import PeerDevice


#: Contents that tell keys.
KEY_KINDS = ("senderKey", "groupKey", "profileKey")
#: Fields that every content has.
COMMON_FIELDS = ("v", "kind", "id", "at", "conversationId")
#: So many posts of this device are known by their ids.
MAX_POSTED = 1_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A content on its way. `body` is what was sealed, as it is posted until somebody answers; None has to be sealed first.

    `people`: who gets it, None for everybody there; `device`: the only device that does, and `device_hash` which one of that number, if it matters. Others
    whom the node wants named get a content without effect. `own` is what one's own other devices get in its place. `is_pairwise`: never under a sender key.
    `is_told`: the person here knows that it waits for a decision. `is_first`: nothing else is sealed for `device` before it.
    """

    message_id: UUID
    number: int
    kind: str
    content_id: UUID
    conversation_id: UUID
    lane: str
    plaintext: bytes = field(repr=False)
    own: bytes | None = field(default=None, repr=False)
    people: tuple[UUID, ...] | None = None
    device: tuple[UUID, int] | None = None
    device_hash: bytes | None = None
    is_pairwise: bool = False
    body: bytes | None = field(default=None, repr=False)
    is_told: bool = False
    is_first: bool = False

    @classmethod
    def from_content(cls, content: Content, now: int, lane: str = "mail") -> "Outgoing":
        """For every member of the conversation."""
        return cls(new_id(now), 0, content.kind, content.id, content.conversation_id, lane, content.pack())

    @classmethod
    def to_people(
        cls, content: Content, now: int, people: Collection[UUID] | None, *, with_own_devices: bool = False
    ) -> "Outgoing":
        """A control content, sealed pairwise for these members (None: all), and with `with_own_devices` for the account's other devices."""
        made = cls.from_content(content, now, "control")
        own = made.plaintext if with_own_devices else None
        return replace(made, own=own, people=None if people is None else tuple(people), is_pairwise=True)

    @classmethod
    def to_own_devices(cls, content: Content, now: int) -> "Outgoing":
        """A control content for the account's other devices alone."""
        return cls.to_people(content, now, (), with_own_devices=True)


@dataclass(frozen=True, slots=True)
class SentTo:
    """A device that something was sealed for: its address, and the hash of its keys, since the address alone is the node's word."""

    user_id: UUID
    device_id: int
    device_hash: bytes


@dataclass(frozen=True, slots=True)
class SentContent:
    """A content that was posted, when (ms since 1970), and to which devices."""

    plaintext: bytes = field(repr=False)
    own: bytes | None = field(repr=False)
    devices: tuple[SentTo, ...]
    is_group: bool = False
    at: int = 0
    until: int = 0
    message_id: UUID | None = None

    def may_resend_to(self, asker: SentTo, now: int) -> bool:
        """Whether a device that could not read it gets it once more: the very device it was sealed for."""
        return may_resend(self.devices, asker, self.at, now)

    def without_account(self, user_id: UUID) -> "SentContent":
        """Not for the devices of this account any more."""
        return replace(self, devices=tuple(each for each in self.devices if each.user_id != user_id))


class SendQueue:
    """Reads and writes it, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, outgoing: Outgoing) -> None:
        """From here on it is sent, whatever happens, behind all that was added before."""
        number = int(self._store.get(kinds.OUTGOING_NUMBER) or b"0") + 1
        self._store.put(kinds.OUTGOING_NUMBER, "", str(number).encode())
        self.save(replace(outgoing, number=number))

    def save(self, outgoing: Outgoing) -> None:
        """Store it in its present state."""
        self._store.put(kinds.OUTGOING, str(outgoing.message_id), pack(outgoing))

    def delete(self, outgoing: Outgoing) -> None:
        """It is sent, or never will be."""
        self._store.put(kinds.OUTGOING, str(outgoing.message_id), None)
        if outgoing.is_first:
            self._store.put(kinds.OUTGOING_FIRST, str(outgoing.message_id), None)

    def pending(self) -> list[Outgoing]:
        """Everything that is still to be sent, in order."""
        return sorted(
            (unpack(Outgoing, kept) for kept in self._store.all(kinds.OUTGOING)), key=lambda each: each.number
        )

    def record_sent(self, message_id: UUID, sent: SentContent, now: int) -> None:
        """Keep what was sent, for those who cannot read it; of too many the oldest go. What is viewed once or ends within seconds is kept no longer than it may be read."""
        content = read_fields(sent.plaintext)
        if content.get("isViewOnce"):
            return
        if content["kind"] in KEY_KINDS:
            # A key that could not be read is told again as it is then: what was told is not kept.
            plain = {name: content[name] for name in COMMON_FIELDS}
            sent = replace(sent, plaintext=orjson.dumps(plain), own=None)
        number = int(self._store.get(kinds.SENT_NUMBER) or b"0") + 1
        self._store.put(kinds.SENT_NUMBER, "", str(number).encode())
        until = now + min(SENT_MILLISECONDS, int(content.get("timerSeconds") or 0) * 1_000 or SENT_MILLISECONDS)
        before = self._store.get(kinds.SENT_PLACE, str(number % MAX_SENT))
        if before is not None:
            self._store.put(kinds.SENT, str(UUID(bytes=before)), None)
        self._store.put(kinds.SENT_PLACE, str(number % MAX_SENT), message_id.bytes, until=until)
        self._store.put(
            kinds.SENT, str(message_id), pack(replace(sent, at=now, message_id=message_id, until=until)), until=until
        )

    def find_sent(self, message_id: UUID, now: int) -> SentContent | None:
        """What was posted under this id, as long as it is kept."""
        kept = self._store.get(kinds.SENT, str(message_id))
        found = unpack(SentContent, kept) if kept else None
        return found if found is not None and now < found.until else None

    def delete_sent(self, content_id: UUID) -> None:
        """This content was taken back: nobody gets it again."""
        for sent in self._all_sent():
            if read_fields(sent.plaintext).get("id") == str(content_id):
                self._store.put(kinds.SENT, str(sent.message_id), None)

    def forget_recipient(self, user_id: UUID) -> None:
        """An account gave up its identity key: what was sealed for the old one is not sent to the next, nor are answers on their way to it."""
        for sent in self._all_sent():
            less = sent.without_account(user_id)
            if less != sent:
                self._store.put(kinds.SENT, str(sent.message_id), pack(less), until=sent.until)
        for outgoing in self.pending():
            if outgoing.device is not None and outgoing.device[0] == user_id:
                self.delete(outgoing)

    def _all_sent(self) -> list[SentContent]:
        return [unpack(SentContent, kept) for kept in self._store.all(kinds.SENT)]


class PriorityContents:
    """What a device has to get before anything else is sealed for it; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue = SendQueue(store)

    def add(self, contents: Sequence[Outgoing]) -> None:
        """These are sent to their own devices, in their order, ahead of all that waits."""
        before = min((each.number for each in self._queue.pending()), default=1)
        for number, each in enumerate(contents, min(before, 1) - len(contents)):
            assert each.device is not None
            self._queue.save(replace(each, number=number, is_first=True))
            self._store.put(kinds.OUTGOING_FIRST, str(each.message_id), str(each.device[1]).encode())

    def waiting_devices(self) -> frozenset[int]:
        """Numbers of own devices for which such a content waits."""
        return frozenset(map(int, self._store.all(kinds.OUTGOING_FIRST)))


class PostedIds:
    """The ids of the last posts of this device, by which it knows the node's `lastMessageId` as its own; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message_id: UUID) -> None:
        """It is about to be posted; of too many the oldest go."""
        if self.contains(message_id):
            return
        number = int(self._store.get(kinds.POSTED_NUMBER) or b"0") + 1
        place = str(number % MAX_POSTED)
        before = self._store.get(kinds.POSTED_PLACE, place)
        if before is not None:
            self._store.put(kinds.POSTED, str(UUID(bytes=before)), None)
        self._store.put(kinds.POSTED_NUMBER, "", str(number).encode())
        self._store.put(kinds.POSTED_PLACE, place, message_id.bytes)
        self._store.put(kinds.POSTED, str(message_id), b"posted")

    def contains(self, message_id: UUID) -> bool:
        """Whether this store knows of the post."""
        return self._store.get(kinds.POSTED, str(message_id)) is not None


def read_fields(plaintext: bytes) -> Mapping[str, Any]:
    """The fields of an own content."""
    found: Mapping[str, Any] = orjson.loads(plaintext)
    return found


def hash_device(peer: PeerDevice) -> bytes:
    """What tells a device from any other under its number: 16 bytes of SHA-256(IK || IDH)."""
    return sha256(peer.identity_key + peer.dh_key).digest()[:16]


def device_key(address: Address) -> tuple[UUID, int]:
    """A device as it is kept here."""
    return address.user_id, address.device_id


class HeldConversations:
    """Conversations in which sending has stopped, and why; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, conversation_id: UUID, refusal: Refusal) -> None:
        """Nothing is sent there until the person decides."""
        self._store.put(kinds.STOPPED, str(conversation_id), pack((conversation_id, refusal.name)))

    def remove(self, conversation_id: UUID) -> None:
        """Something was sent there again, or given up."""
        if self._store.get(kinds.STOPPED, str(conversation_id)) is not None:
            self._store.put(kinds.STOPPED, str(conversation_id), None)

    def all(self) -> dict[UUID, str]:
        """The name of the refusal, by conversation."""
        return dict(unpack(tuple[UUID, str], kept) for kept in self._store.all(kinds.STOPPED))


class UnsentMessages:
    """Own messages that waited to be sent when the profile was opened; a look at the queue of that moment, for they may go out at once."""

    def __init__(self, store: Store) -> None:
        waiting = [each for each in SendQueue(store).pending() if each.lane == "mail"]
        self._ids_by_digest: Final = {
            _content_digest(each.conversation_id, read_fields(each.plaintext)): each.content_id for each in waiting
        }
        #: Their ids.
        self.ids: Final = frozenset(self._ids_by_digest.values())

    def find(self, conversation_id: UUID, kind: str, fields: Mapping[str, Any]) -> UUID | None:
        """The id of one that says exactly this there."""
        return self._ids_by_digest.get(_content_digest(conversation_id, {"kind": kind, **fields}))


def _content_digest(conversation_id: UUID, content: Mapping[str, Any]) -> bytes:
    # The outbox adds the conversation's timer: the same text is the same message with and without it.
    added = {*COMMON_FIELDS, "timerSeconds"} - {"kind"}
    fields = {name: value for name, value in content.items() if name not in added}
    return sha256(conversation_id.bytes + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).digest()
