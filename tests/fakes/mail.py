"""The mail store in dictionaries: what the other mail stores are compared with.

Small and obviously right before fast; each method runs without awaiting, so each is atomic in its event loop. Nothing survives the process.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.clock import Clock
from vyry.errors import NotFound, StaleHead
from vyry.kernel.chain import first_head, next_head
from vyry.kernel.ids import ConversationId, DeviceAddress, DeviceId, MailboxId, MailboxKey, MessageId, UserId, new_id
from vyry.mail.capacity import STRANGERS_OWNER, CapacityRequest, LaneCapacity, Usage
from vyry.mail.envelope import CAP_DIGEST, Lane, LossReason
from vyry.mail.store import (
    Acknowledgement,
    CollectRequest,
    Content,
    Copy,
    CopyState,
    CopyStatus,
    Cursor,
    Deposited,
    DropRequest,
    DropResult,
    Entry,
    MailboxCaps,
    MailboxState,
    MailUpkeep,
    Message,
    Outdated,
    PostOutcome,
    Preconditions,
    ResumeInfo,
    ResumePoint,
)


DEFAULT_CAPS = MailboxCaps()


@dataclass(slots=True)
class MemoryEnvelope:
    """One copy. `content` is one object for all copies that share it, and None once this one needs it no more."""

    number: int
    digest: bytes
    size: int
    lane: Lane
    accepted_at: datetime
    expires_at: datetime
    content: Content | None
    is_urgent: bool = True
    loss: LossReason | None = None
    #: Whose share of the room it takes, if it was accepted into a lane that was not nearly empty.
    share: UUID | None = None
    head: bytes = b""


@dataclass(slots=True)
class MemoryMailbox:
    """One mailbox: what waits for its number, and the numbered entries by seq."""

    key: MailboxKey
    mailbox_id: MailboxId
    address: DeviceAddress
    last_cursor: Cursor
    acknowledged: Cursor
    sent: int = 0
    connection: int = 0
    is_ended: bool = False
    waiting: list[MemoryEnvelope] = field(default_factory=list)
    entries: dict[int, MemoryEnvelope] = field(default_factory=dict)

    def is_point(self, seq: int, head: bytes | None) -> bool:
        """Whether this is the acknowledged point or a stored entry, by its head (at 0 it may be left out)."""
        if seq == self.acknowledged.seq:
            return head == self.acknowledged.head or (seq == 0 and head is None)
        return seq in self.entries and self.entries[seq].head == head

    def envelopes(self) -> Iterator[MemoryEnvelope]:
        """All that is stored here, numbered or not."""
        yield from self.entries.values()
        yield from self.waiting


class MemoryMailboxes:
    """The mailboxes, and what posts are guarded by: here tests say which devices, lists and conversations there are."""

    def __init__(self, clock: Clock, caps: MailboxCaps = DEFAULT_CAPS) -> None:
        self.clock = clock
        self.caps = caps
        self.mailboxes: dict[MailboxKey, MemoryMailbox] = {}
        self.epochs: dict[UserId, int] = {}
        self.versions: dict[ConversationId, int] = {}
        self.messages: dict[tuple[MailboxKey, MessageId], PostOutcome] = {}
        self.said_in: dict[tuple[MailboxKey, MessageId], ConversationId | None] = {}
        self.fates: dict[int, tuple[CopyState, datetime]] = {}
        #: Whose mail is no stranger's: friends, and members of a group that the first is a member of.
        self.ties: set[tuple[UserId, UUID | None]] = set()
        self.last_number = 0
        #: The lines of the audit log.
        self.acts: list[OperatorAction] = []
        #: Told what was deposited where: plans wake-ups (tests/fakes/wakeups.py).
        self.deposited: Callable[[MemoryMailbox, Sequence[MemoryEnvelope]], None] = lambda _, __: None

    def add_mailbox(self, user_id: UserId, device_id: DeviceId, mailbox_id: MailboxId | None = None) -> MailboxKey:
        """A new, empty mailbox for this device of this account."""
        key = MailboxKey(len(self.mailboxes) + 1)
        mailbox_id = mailbox_id or MailboxId(new_id())
        start = Cursor(0, first_head(mailbox_id))
        self.mailboxes[key] = MemoryMailbox(key, mailbox_id, DeviceAddress(user_id, device_id), start, start)
        self.epochs.setdefault(user_id, 1)
        return key

    def end_mailbox(self, mailbox: MailboxKey) -> None:
        """The device has ended: its numbered mail is gone, and what is still unnumbered goes with the next deposit."""
        box = self.mailboxes[mailbox]
        box.is_ended = True
        box.entries.clear()

    def set_epoch(self, user_id: UserId, epoch: int) -> None:
        """The device list of this account stands at this epoch."""
        self.epochs[user_id] = epoch

    def set_version(self, conversation_id: ConversationId, version: int) -> None:
        """This conversation stands at this version."""
        self.versions[conversation_id] = version

    def count_contents(self) -> int:
        """How many stored bodies some envelope still needs."""
        envelopes = (envelope for box in self.mailboxes.values() for envelope in box.envelopes())
        return len({id(envelope.content) for envelope in envelopes if envelope.content})

    def mark_lost(self, envelope: MemoryEnvelope, loss: LossReason) -> None:
        """This envelope is no more; its number stays."""
        envelope.loss = loss
        envelope.content = None
        state = CopyState.EXPIRED if loss is LossReason.EXPIRED else CopyState.DROPPED
        self.fates[envelope.number] = state, self.clock.confirmed_now()

    def capacity(self, place: CapacityRequest) -> LaneCapacity | None:
        """What the lane holds, and how much of it in this name. None: there is no such mailbox, or it has ended."""
        box = self.mailboxes.get(place.mailbox)
        if box is None or box.is_ended:
            return None
        inside = [each for each in box.entries.values() if each.lane == place.lane and each.loss is None]
        share = self._share(box.address.user_id, place)
        return LaneCapacity(_usage(inside), share, _usage([each for each in inside if share and each.share == share]))

    def _share(self, owner: UserId, place: CapacityRequest) -> UUID | None:
        if place.quota_owner in {None, owner}:
            return None
        return (
            place.quota_owner
            if place.is_from_acquaintance or (owner, place.quota_owner) in self.ties
            else STRANGERS_OWNER
        )

    def is_full(self, box: MemoryMailbox, lane: Lane, size: int) -> bool:
        """Whether this lane has no room for one more envelope of this size, whoever posted it."""
        inside = _usage([each for each in box.entries.values() if each.lane == lane and each.loss is None])
        return not LaneCapacity(inside).fits(self.caps.for_lane(lane), size)


class MemoryMailUpkeep:
    """MailUpkeep in dictionaries."""

    def __init__(self, state: MemoryMailboxes) -> None:
        self.state = state

    async def find_unnumbered(
        self, older_than: datetime, limit: int, *, among: Collection[MailboxKey] | None = None
    ) -> list[MailboxKey]:
        oldest = {
            box.key: min(envelope.accepted_at for envelope in box.waiting)
            for box in self.state.mailboxes.values()
            if box.waiting and (among is None or box.key in among)
        }
        return sorted((key for key, at in oldest.items() if at < older_than), key=lambda key: oldest[key])[:limit]

    async def expire(self, now: datetime, limit: int) -> int:
        entries = (entry for box in self.state.mailboxes.values() for entry in box.entries.values())
        late = [entry for entry in entries if entry.loss is None and entry.expires_at <= now][:limit]
        for entry in late:
            self.state.mark_lost(entry, LossReason.EXPIRED)
        return len(late)

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        messages = [key for key, stored in self.state.messages.items() if stored.accepted_at < before][:limit]
        for key in messages:
            del self.state.messages[key], self.state.said_in[key]
        fates = [number for number, (_, at) in self.state.fates.items() if at < before][: limit - len(messages)]
        for number in fates:
            del self.state.fates[number]
        return len(messages) + len(fates)

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        outcomes = [
            (stored, self.state.said_in[sender, key])
            for (sender, key), stored in self.state.messages.items()
            if key == message_id
            and sender in self.state.mailboxes
            and self.state.mailboxes[sender].address.user_id == account
        ]
        if not outcomes:
            return None
        return [
            CopyStatus(
                self.state.mailboxes[mailbox].address,
                *self._fate(mailbox, number, stored.accepted_at),
                stored.accepted_at,
                said_in,
            )
            for stored, said_in in outcomes
            for mailbox, number in zip(stored.mailboxes, stored.numbers, strict=True)
            if mailbox in self.state.mailboxes
        ]

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        messages = self.state.messages
        return {key: messages[key]._replace(is_repeat=True) for key in keys if key in messages}

    def _fate(self, mailbox: MailboxKey, number: int | None, accepted_at: datetime) -> tuple[CopyState, datetime]:
        if number is not None and number in self.state.fates:
            return self.state.fates[number]
        box = self.state.mailboxes[mailbox]
        if any(envelope.number == number for envelope in box.waiting):
            return CopyState.ACCEPTED, accepted_at
        for envelope in box.entries.values():
            if envelope.number == number:
                is_late = envelope.expires_at <= self.state.clock.confirmed_now()
                return (CopyState.EXPIRED, envelope.expires_at) if is_late else (CopyState.DEPOSITED, accepted_at)
        return CopyState.DROPPED, accepted_at

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        box = self.state.mailboxes.get(mailbox)
        return None if box is None else _resume_info(self.state, box)

    async def drop(self, request: DropRequest, act: OperatorAction) -> DropResult:
        now, entries = self.state.clock.confirmed_now(), self.state.mailboxes[request.mailbox].entries
        inside = [entries[seq] for seq in range(request.first, request.last + 1) if seq in entries]
        inside = [each for each in inside if each.loss is None and each.expires_at > now]
        notices = sum(each.lane is Lane.NOTICE for each in inside)
        if notices and not request.includes_notices:
            return DropResult(0, notices)
        for each in inside:
            self.state.mark_lost(each, LossReason.OPERATOR)
        if inside:
            self.state.acts.append(act)
        return DropResult(len(inside))

    async def measure_backlog(self) -> tuple[int, float]:
        boxes = self.state.mailboxes.values()
        ages = [
            (self.state.clock.confirmed_now() - envelope.accepted_at).total_seconds()
            for box in boxes
            for envelope in box.waiting
        ]
        return sum(len(box.entries) for box in boxes), max(ages, default=0.0)


class MemoryMailStore:
    """MailStore in dictionaries; `state` is where tests add mailboxes."""

    def __init__(self, clock: Clock, caps: MailboxCaps = DEFAULT_CAPS) -> None:
        self.state = MemoryMailboxes(clock, caps)
        self.upkeep: MailUpkeep = MemoryMailUpkeep(self.state)

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        users = frozenset(user for user, epoch in guards.epochs.items() if self.state.epochs.get(user) != epoch)
        conversations = frozenset(
            each for each, version in guards.versions.items() if self.state.versions.get(each) != version
        )
        if users or conversations:
            return Outdated(users, conversations)
        idle = {
            key for key, box in self.state.mailboxes.items() if key in readers and not (box.waiting or box.is_ended)
        }
        outcomes = [self._post(message) for message in messages]
        numbered = {each.number: each for each in await self.deposit(idle)}
        return [
            each._replace(
                deposited={i: numbered[n] for i, n in enumerate(each.numbers) if not each.is_repeat and n in numbered}
            )
            for each in outcomes
        ]

    def _post(self, message: Message) -> PostOutcome:
        key = message.sender, message.message_id
        if known := self.state.messages.get(key):
            return known._replace(is_repeat=True)
        mailboxes = [copy.mailbox for copy in message.copies]
        numbers = [self._store_copy(message, copy) for copy in message.copies]
        stored = PostOutcome(message.fingerprint, message.accepted_at, mailboxes, numbers, is_repeat=False)
        if any(numbers) or not message.copies:
            self.state.messages[key], self.state.said_in[key] = stored, message.conversation_id
        return stored

    def _store_copy(self, message: Message, copy: Copy) -> int | None:
        content, limit = message.contents[copy.content], self.state.caps.for_lane(message.lane)
        capacity = self.state.capacity(message.capacity_request(copy))
        if capacity is None or not capacity.fits(limit, content.size):
            return None
        self.state.last_number += 1
        facts = content.digest, content.size, message.lane, message.accepted_at, message.expires_at
        envelope = MemoryEnvelope(self.state.last_number, *facts, content, message.is_urgent)
        envelope.share = capacity.counted_owner(limit, content.size)
        self.state.mailboxes[copy.mailbox].waiting.append(envelope)
        return self.state.last_number

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        boxes = [self.state.mailboxes[key] for key in dict.fromkeys(mailboxes) if key in self.state.mailboxes]
        return [deposited for box in boxes for deposited in self._deposit(box)]

    def _deposit(self, box: MemoryMailbox) -> list[Deposited]:
        waiting, box.waiting = box.waiting, []
        if box.is_ended:
            for envelope in waiting:
                self.state.fates[envelope.number] = CopyState.DROPPED, self.state.clock.confirmed_now()
            return []
        deposited = [self._number_next(box, envelope) for envelope in waiting]
        self.state.deposited(box, waiting)
        return deposited

    def _number_next(self, box: MemoryMailbox, envelope: MemoryEnvelope) -> Deposited:
        if envelope.expires_at <= self.state.clock.confirmed_now():
            self.state.mark_lost(envelope, LossReason.EXPIRED)
        elif self.state.is_full(box, envelope.lane, envelope.size):
            self.state.mark_lost(envelope, LossReason.CAP)
        seq = box.last_cursor.seq + 1
        digest = CAP_DIGEST if envelope.loss is LossReason.CAP else envelope.digest
        envelope.head = next_head(box.last_cursor.head, seq, digest)
        box.last_cursor = Cursor(seq, envelope.head)
        box.entries[seq] = envelope
        return Deposited(box.key, seq, envelope.head, envelope.number, envelope.loss)

    async def open_mailboxes(self, points: Sequence[ResumePoint]) -> list[ResumeInfo | StaleHead | NotFound]:
        return [self._open_mailbox(point) for point in points]

    def _open_mailbox(self, point: ResumePoint) -> ResumeInfo | StaleHead | NotFound:
        box = self.state.mailboxes.get(point.mailbox)
        if box is None or box.is_ended:
            return NotFound()
        if not box.is_point(point.seq, point.head):
            return StaleHead(cursor=box.acknowledged)
        box.sent = max(box.sent, point.seq)
        box.connection += 1
        return _resume_info(self.state, box)

    async def record_sent(self, mailbox: MailboxKey, seq: int) -> None:
        if box := self.state.mailboxes.get(mailbox):
            box.sent = max(box.sent, seq)

    async def load_states(
        self, mailboxes: Collection[MailboxKey], *, sent: Mapping[MailboxKey, int] | None = None
    ) -> list[MailboxState]:
        states = [_state(self.state.mailboxes[key]) for key in mailboxes if key in self.state.mailboxes]
        return [state for state in states if sent is None or state.last.seq > sent[state.mailbox]]

    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        return [entry for want in wants if want.mailbox in self.state.mailboxes for entry in self._collect(want)]

    def _collect(self, want: CollectRequest) -> Iterator[Entry]:
        box, size = self.state.mailboxes[want.mailbox], 0
        for position, seq in enumerate(sorted(seq for seq in box.entries if seq > want.after_seq)[: want.max_entries]):
            entry = box.entries[seq]
            loss = entry.loss or (LossReason.EXPIRED if entry.expires_at <= self.state.clock.confirmed_now() else None)
            size += 0 if loss else entry.size
            if position and size > want.max_bytes:
                return
            packed = entry.content.packed if entry.content and not loss else None
            yield Entry(box.key, seq, entry.head, entry.number, loss, packed)

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        return [self._acknowledge(point) for point in points]

    def _acknowledge(self, point: Acknowledgement) -> Cursor | None:
        box = self.state.mailboxes.get(point.mailbox)
        if box is None:
            return None
        if point.seq <= box.acknowledged.seq:
            return box.acknowledged
        if point.seq > max(point.sent_seq, box.sent) or not box.is_point(point.seq, point.head):
            return None
        for seq in range(box.acknowledged.seq + 1, point.seq + 1):
            entry = box.entries.pop(seq)
            if entry.loss is None:
                now = self.state.clock.confirmed_now()
                state = CopyState.EXPIRED if entry.expires_at <= now else CopyState.ACKNOWLEDGED
                self.state.fates[entry.number] = state, now
        box.acknowledged = Cursor(point.seq, point.head)
        return box.acknowledged

    async def discard(self, mailbox: MailboxKey, seq: int) -> bool:
        box = self.state.mailboxes.get(mailbox)
        if box is None or seq not in box.entries:
            return False
        if box.entries[seq].loss is None:
            self.state.mark_lost(box.entries[seq], LossReason.PARKED)
        return True


def _usage(envelopes: Sequence[MemoryEnvelope]) -> Usage:
    return Usage(len(envelopes), sum(each.size for each in envelopes))


def _state(box: MemoryMailbox) -> MailboxState:
    return MailboxState(box.key, box.mailbox_id, box.last_cursor, box.acknowledged, box.connection, box.is_ended)


def _resume_info(state: MemoryMailboxes, box: MemoryMailbox) -> ResumeInfo:
    sent = (message_id for sender, message_id in reversed(state.messages) if sender == box.key)
    return ResumeInfo(_state(box), next(sent, None))
