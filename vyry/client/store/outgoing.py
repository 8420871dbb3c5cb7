"""The send queue, what was sent and is kept for retries (docs/signal-protocol.md, "Retry"), and what stops sending."""

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


#: Contents that distribute keys.
KEY_KINDS = ("senderKey", "groupKey", "profileKey")
#: Fields that every content has.
COMMON_FIELDS = ("v", "kind", "id", "at", "conversationId")
#: Posts of this device that are known by their ids.
MAX_POSTED = 1_000
#: Accounts that receive a key in one post: their devices have to fit into a body.
RECIPIENTS_PER_POST = 10


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A content to send. `body` is the sealed post, repeated until the node has answered; None: it has to be sealed first.

    `people`: the recipients, None for every member; `device`: the only device that gets it, and `device_hash` which one of that id, if it matters. Other
    recipients that the node requires get a content without effect. `own` is what the account's other devices get instead. `is_pairwise`: never under a sender key.
    `is_told`: the user knows that it waits for a decision. `is_first`: nothing else is sealed for `device` before it.
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
    """A device that something was sealed for: its address, and a hash of its keys, because the node assigns the address."""

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
        """Whether a device that could not read the content gets it again: only the device for which it was sealed."""
        return may_resend(self.devices, asker, self.at, now)

    def without_account(self, user_id: UUID) -> "SentContent":
        """The record without the devices of this account."""
        return replace(self, devices=tuple(each for each in self.devices if each.user_id != user_id))


class SendQueue:
    """Reads and writes the queue and the sent contents, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, outgoing: Outgoing) -> None:
        """Queue it behind everything added before."""
        self.save(replace(outgoing, number=self._store.next_number(kinds.OUTGOING_NUMBER)))

    def save(self, outgoing: Outgoing) -> None:
        """Store it in its present state."""
        self._store.put(kinds.OUTGOING, str(outgoing.message_id), pack(outgoing))

    def delete(self, outgoing: Outgoing) -> None:
        """Remove a content that was sent or will not be sent."""
        self._store.put(kinds.OUTGOING, str(outgoing.message_id), None)
        if outgoing.is_first:
            self._store.put(kinds.OUTGOING_FIRST, str(outgoing.message_id), None)

    def pending(self) -> list[Outgoing]:
        """Everything that is still to be sent, in order."""
        return sorted(
            (unpack(Outgoing, packed) for packed in self._store.all(kinds.OUTGOING)), key=lambda each: each.number
        )

    def record_sent(self, message_id: UUID, sent: SentContent, now: int) -> None:
        """Store a sent content for retries; beyond the limit the oldest are deleted. View-once contents are not kept, and disappearing ones only as long as they may be read."""
        content = read_fields(sent.plaintext)
        if content.get("isViewOnce"):
            return
        if content["kind"] in KEY_KINDS:
            # A key that could not be read is sent again as it is then: the key itself is not kept.
            plain = {name: content[name] for name in COMMON_FIELDS}
            sent = replace(sent, plaintext=orjson.dumps(plain), own=None)
        until = now + min(SENT_MILLISECONDS, int(content.get("timerSeconds") or 0) * 1_000 or SENT_MILLISECONDS)
        slot = str(self._store.next_number(kinds.SENT_NUMBER) % MAX_SENT)
        _replace_oldest(self._store, kinds.SENT, kinds.SENT_SLOT, slot)
        self._store.put(kinds.SENT_SLOT, slot, message_id.bytes, until=until)
        self._store.put(
            kinds.SENT, str(message_id), pack(replace(sent, at=now, message_id=message_id, until=until)), until=until
        )

    def find_sent(self, message_id: UUID, now: int) -> SentContent | None:
        """The content posted under this id, while it is stored."""
        packed = self._store.get(kinds.SENT, str(message_id))
        found = unpack(SentContent, packed) if packed else None
        return found if found is not None and now < found.until else None

    def delete_sent(self, content_id: UUID) -> None:
        """The content was withdrawn: no device gets it again."""
        for sent in self._all_sent():
            if read_fields(sent.plaintext).get("id") == str(content_id):
                self._store.put(kinds.SENT, str(sent.message_id), None)

    def forget_recipient(self, user_id: UUID) -> None:
        """An account changed its identity key: what was sealed for the old key is not sent to the new one, nor are queued answers to its devices."""
        for sent in self._all_sent():
            remaining = sent.without_account(user_id)
            if remaining != sent:
                self._store.put(kinds.SENT, str(sent.message_id), pack(remaining), until=sent.until)
        for outgoing in self.pending():
            if outgoing.device is not None and outgoing.device[0] == user_id:
                self.delete(outgoing)

    def _all_sent(self) -> list[SentContent]:
        return [unpack(SentContent, packed) for packed in self._store.all(kinds.SENT)]


class PriorityContents:
    """Contents that a device has to receive before anything else is sealed for it; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue = SendQueue(store)

    def add(self, contents: Sequence[Outgoing]) -> None:
        """Queue these for their own devices, in their order, ahead of everything else."""
        before = min((each.number for each in self._queue.pending()), default=1)
        for number, each in enumerate(contents, min(before, 1) - len(contents)):
            assert each.device is not None
            self._queue.save(replace(each, number=number, is_first=True))
            self._store.put(kinds.OUTGOING_FIRST, str(each.message_id), str(each.device[1]).encode())

    def waiting_devices(self) -> frozenset[int]:
        """Ids of own devices for which such a content is queued."""
        return frozenset(map(int, self._store.all(kinds.OUTGOING_FIRST)))


class PostedIds:
    """The ids of this device's last posts, by which it recognizes the node's `lastMessageId`; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, message_id: UUID) -> None:
        """Record an id that is about to be posted; beyond the limit the oldest are deleted."""
        if self.contains(message_id):
            return
        slot = str(self._store.next_number(kinds.POSTED_NUMBER) % MAX_POSTED)
        _replace_oldest(self._store, kinds.POSTED, kinds.POSTED_SLOT, slot)
        self._store.put(kinds.POSTED_SLOT, slot, message_id.bytes)
        self._store.put(kinds.POSTED, str(message_id), b"posted")

    def contains(self, message_id: UUID) -> bool:
        """Whether this store knows the post."""
        return self._store.get(kinds.POSTED, str(message_id)) is not None


def _replace_oldest(store: Store, kind: str, slot_kind: str, slot: str) -> None:
    """Delete the row whose id is in this slot of the ring buffer, before the slot is reused."""
    replaced = store.get(slot_kind, slot)
    if replaced is not None:
        store.put(kind, str(UUID(bytes=replaced)), None)


def read_fields(plaintext: bytes) -> Mapping[str, Any]:
    """The fields of an own content."""
    found: Mapping[str, Any] = orjson.loads(plaintext)
    return found


def hash_device(peer: PeerDevice) -> bytes:
    """Distinguishes a device from any other under its id: 16 bytes of SHA-256(IK || IDH)."""
    return sha256(peer.identity_key + peer.dh_key).digest()[:16]


def device_key(address: Address) -> tuple[UUID, int]:
    """A device as the queue stores it."""
    return address.user_id, address.device_id


class HeldConversations:
    """Conversations in which sending stopped until the user decides, and why; inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, conversation_id: UUID, refusal: Refusal) -> None:
        """Stop sending there until the user decides."""
        self._store.put(kinds.STOPPED, str(conversation_id), pack((conversation_id, refusal.name)))

    def remove(self, conversation_id: UUID) -> None:
        """Allow sending there again."""
        if self._store.get(kinds.STOPPED, str(conversation_id)) is not None:
            self._store.put(kinds.STOPPED, str(conversation_id), None)

    def all(self) -> dict[UUID, str]:
        """The name of the refusal, by conversation."""
        return dict(unpack(tuple[UUID, str], packed) for packed in self._store.all(kinds.STOPPED))


class UnsentMessages:
    """Own messages that were queued when the profile was opened: a snapshot, since they may be sent at once. The same message sent again has the same id."""

    def __init__(self, store: Store) -> None:
        waiting = [each for each in SendQueue(store).pending() if each.lane == "mail"]
        self._ids_by_digest: Final = {
            _content_digest(each.conversation_id, read_fields(each.plaintext)): each.content_id for each in waiting
        }
        self.ids: Final = frozenset(self._ids_by_digest.values())

    def find(self, conversation_id: UUID, kind: str, fields: Mapping[str, Any]) -> UUID | None:
        """The id of a queued message with exactly this content."""
        return self._ids_by_digest.get(_content_digest(conversation_id, {"kind": kind, **fields}))


def _content_digest(conversation_id: UUID, content: Mapping[str, Any]) -> bytes:
    # The outbox adds the conversation's timer: the same text is the same message with and without it.
    added = {*COMMON_FIELDS, "timerSeconds"} - {"kind"}
    fields = {name: value for name, value in content.items() if name not in added}
    return sha256(conversation_id.bytes + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).digest()
