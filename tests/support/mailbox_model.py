"""What a sender and a device know of a mailbox, and what they must never see: the invariants L1-L11 as assertions that name them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vyry.kernel.chain import first_head, next_head
from vyry.kernel.ids import MailboxId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import CAP_DIGEST, Envelope, Lane, LossReason
from vyry.mail.store import Entry, MailboxCaps, Message, PostOutcome


CAPS = MailboxCaps(mail_entries=5, mail_bytes=5_000, control_entries=3, control_bytes=3_000, notice_entries=3)
ENTRIES = {lane: CAPS.for_lane(lane).entries for lane in Lane}


@dataclass(slots=True)
class Send:
    """One message: when it was first attempted, when its sender first heard of its outcome, and which."""

    message: Message
    started_tick: int
    answered_tick: int | None = None
    outcome: PostOutcome | None = None

    def record_outcome(self, outcome: PostOutcome, tick: int) -> None:
        """The node answered. The first answer is the truth for ever, unless there was room nowhere and nothing was stored."""
        known = self.outcome
        if known is None or not any(known.numbers):
            self.answered_tick, self.outcome = tick, outcome
            return
        assert outcome.is_repeat, "L11: a repeated post was stored again"
        assert list(outcome.numbers) == list(known.numbers), "L11: a repeated post was answered differently"
        assert outcome.fingerprint == known.fingerprint, "L11: a repeated post replaced the body"

    def is_for(self, box: MailboxKey) -> bool:
        """Whether there is a copy for this mailbox."""
        return box in {copy.mailbox for copy in self.message.copies}

    def number_for(self, box: MailboxKey) -> int | None:
        """The envelope number of the copy for this mailbox; None if there was no room."""
        assert self.outcome is not None
        return dict(zip(self.outcome.mailboxes, self.outcome.numbers, strict=True)).get(box)


@dataclass(slots=True)
class SeenEntry:
    """What a device was shown under one seq, and when it first saw that it was lost."""

    number: int
    head: bytes
    message_id: MessageId | None
    loss: LossReason | None = None
    lost_at: datetime | None = None


@dataclass(slots=True)
class ModelReader:
    """A reader that keeps its last point, checks the chain and never forgets what it was shown."""

    key: MailboxKey
    mailbox_id: MailboxId
    owner: UserId
    acknowledged: int = 0
    parked: set[int] = field(default_factory=set)
    seen_entries: dict[int, SeenEntry] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        """The last number it was shown."""
        return len(self.seen_entries)

    def head_at(self, seq: int) -> bytes:
        """The head it was shown with this number."""
        return self.seen_entries[seq].head if seq else first_head(self.mailbox_id)

    def record_page(self, entries: Sequence[Entry], after: int, now: datetime) -> None:
        """Take what a collect after this number answered."""
        expected = max(after, self.acknowledged) + 1
        for entry in entries:
            assert entry.seq > self.acknowledged, f"L9: {entry.seq} was delivered after it was acknowledged"
            assert entry.seq == expected, f"L4: {entry.seq} came where {expected} was due"
            assert (entry.packed is None) == (entry.loss_reason is not None), (
                f"L3: {entry.seq} is neither whole nor lost"
            )
            expected += 1
            if entry.seq in self.seen_entries:
                self._check_repeat(entry, now)
            else:
                self._record_entry(entry, now)

    def _record_entry(self, entry: Entry, now: datetime) -> None:
        assert entry.number not in {sighting.number for sighting in self.seen_entries.values()}, (
            f"L5: envelope {entry.number} was shown twice"
        )
        sighting = SeenEntry(entry.number, entry.head, None, entry.loss_reason, now if entry.loss_reason else None)
        if entry.packed is not None:
            envelope = Envelope.unpack(entry.packed)
            sighting.message_id = envelope.message_id
            head = next_head(self.head_at(entry.seq - 1), entry.seq, envelope.digest())
            assert entry.head == head, f"L4: the head of {entry.seq} does not follow"
        self.seen_entries[entry.seq] = sighting

    def _check_repeat(self, entry: Entry, now: datetime) -> None:
        known = self.seen_entries[entry.seq]
        assert (entry.number, entry.head) == (known.number, known.head), f"L3: {entry.seq} is another envelope now"
        assert entry.loss_reason or known.loss is None, f"L3: {entry.seq} was lost and is back"
        if entry.loss_reason and known.loss is None:
            known.loss, known.lost_at = entry.loss_reason, now
        if entry.packed is not None:
            assert Envelope.unpack(entry.packed).message_id == known.message_id, f"L3: {entry.seq} has another content"


def audit(device: ModelReader, sends: Iterable[Send]) -> None:
    """Hold all that a drained device has ever seen against all that was sent."""
    expected = {number: send for send in sends if (number := send.number_for(device.key)) is not None and send.outcome}
    seen = {sighting.number: seq for seq, sighting in device.seen_entries.items()}
    assert seen.keys() <= expected.keys(), "L2: something was delivered that nobody sent, or whose copy was refused"
    assert expected.keys() <= seen.keys(), "L1: an accepted envelope has vanished"
    _audit_chain(device, expected)
    _audit_losses(device, expected)
    _audit_order(device, [(expected[number], seq) for number, seq in seen.items()])


def audit_fan_out(send: Send, devices: Iterable[ModelReader]) -> None:
    """One message reaches all the devices it was accepted for, or none."""
    targets = {device.key: send.number_for(device.key) for device in devices}
    reached = {
        device.key
        for device in devices
        if targets[device.key] in {sighting.number for sighting in device.seen_entries.values()}
    }
    accepted = {key for key, number in targets.items() if number is not None}
    assert not reached or reached == accepted, "L7: a message reached some of its devices only"


def audit_capacity(lane: Lane, sends: Iterable[Send], device: ModelReader) -> None:
    """A copy may be refused or dropped for want of room only where there have been more copies than there is room for."""
    copies = [send for send in sends if send.message.lane is lane and send.is_for(device.key)]
    assert len(copies) > ENTRIES[lane], "L1: a copy was dropped although its mailbox had room"


def _audit_chain(device: ModelReader, expected: dict[int, Send]) -> None:
    head = first_head(device.mailbox_id)
    for seq, sighting in sorted(device.seen_entries.items()):
        message = expected[sighting.number].message
        digest = CAP_DIGEST if sighting.loss is LossReason.CAP else message.contents[0].digest
        head = next_head(head, seq, digest)
        assert sighting.head == head, f"L4: the chain does not hold at {seq}"
        assert sighting.message_id in {None, message.message_id}, f"L3: {seq} shows another message than was accepted"


def _audit_losses(device: ModelReader, expected: dict[int, Send]) -> None:
    for seq, sighting in device.seen_entries.items():
        send = expected[sighting.number]
        if sighting.loss is LossReason.EXPIRED:
            assert sighting.lost_at is not None
            assert sighting.lost_at >= send.message.expires_at, f"L1: {seq} expired before its time"
        elif sighting.loss is LossReason.PARKED:
            assert seq in device.parked, f"L1: {seq} was parked by nobody"
        elif sighting.loss is LossReason.CAP:
            audit_capacity(send.message.lane, expected.values(), device)
        else:
            assert sighting.loss is None, f"L1: {seq} was dropped by nobody"
            assert sighting.message_id == send.message.message_id, f"L3: {seq} has no content"


def _audit_order(device: ModelReader, placed: Sequence[tuple[Send, int]]) -> None:
    for first, seq in placed:
        for second, later in placed:
            if first.answered_tick is not None and first.answered_tick < second.started_tick:
                assert seq < later, f"L6: {later} of {device.key} was sent after {seq} was accepted"
