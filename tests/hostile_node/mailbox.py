"""The mailbox that a lying node tells its victim: numbers and heads of its own, made over whatever was put in, left out or changed.

Each entry told knows up to which entry of the real mailbox it goes, so that resume points and acknowledgements of the client are translated both ways.
As long as nothing was changed both mailboxes are the same, bit for bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from tests.hostile_node.wire import Body
from tests.support.chain_checker import entry_digest, to_bytes
from tests.support.device_keys import base64_text


@dataclass(frozen=True, slots=True)
class MailboxPoint:
    """A point of a mailbox."""

    seq: int = 0
    head: bytes = b""

    def as_json(self) -> Body:
        """As a cursor."""
        return {"seq": self.seq, "head": base64_text(self.head)}


@dataclass(frozen=True, slots=True)
class VerbatimEntry:
    """An entry that is told with the very number and head it has: what a chain must not take."""

    entry: Body


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry as the client is told it; `here` is the point behind it, `real` the last point of the node's mailbox that is covered with it."""

    entry: Body
    shown_point: MailboxPoint
    node_point: MailboxPoint
    is_exact: bool = False


Entries = Sequence[Body | VerbatimEntry]


class ShownMailbox:
    """What was told so far."""

    def __init__(self) -> None:
        self.mailbox_id: str | None = None
        self.log: list[ShownEntry] = []
        #: Where both began, and how far the real one was looked at.
        self._base: tuple[MailboxPoint, MailboxPoint] | None = None
        self.real = MailboxPoint()
        #: What the client has acknowledged.
        self.acknowledged = MailboxPoint()
        #: The node's number of each message it told.
        self._numbers: dict[str, int] = {}

    @property
    def shown_point(self) -> MailboxPoint:
        """The last point told."""
        if self.log:
            return self.log[-1].shown_point
        return self._base[0] if self._base else MailboxPoint()

    def begin(self, mailbox_id: str) -> None:
        """The node says which mailbox it is: another one than before begins anew."""
        if self.mailbox_id not in (None, mailbox_id):
            self.log, self._base, self.real, self.acknowledged = [], None, MailboxPoint(), MailboxPoint()
        self.mailbox_id = mailbox_id
        if self._base is None:
            first = MailboxPoint(0, sha256(b"vyry mailbox 1" + UUID(mailbox_id).bytes).digest())
            self._base, self.real, self.acknowledged = (first, first), first, first

    def resume(self, point: MailboxPoint) -> MailboxPoint | None:
        """Where the node goes on when the client goes on at this point; None for one that was never told, or lies before what was acknowledged.

        What is in the log already is not asked for again: the node takes no acknowledgement of what it has not sent on the same connection.
        """
        if point.seq == 0 and not self.log and self.acknowledged.seq == 0:
            return MailboxPoint(0)
        if self._base is None:
            self._base, self.real, self.acknowledged = (point, point), point, point
        if point.seq < self.acknowledged.seq:
            return None
        is_told = any(here.seq == point.seq and _fits(point, here) for here, _ in self._spots())
        return self.real if is_told else None

    def node_point_at(self, seq: int) -> MailboxPoint:
        """The node's point behind everything that was told up to this number."""
        return max(
            (real for here, real in self._spots() if here.seq <= seq), key=lambda spot: spot.seq, default=MailboxPoint()
        )

    def acknowledge(self, seq: int) -> MailboxPoint:
        """The client has everything up to this number; answers the node's point."""
        here = next((here for here, _ in self._spots() if here.seq == seq), None)
        if here is not None and seq > self.acknowledged.seq:
            self.acknowledged = here
        return self.node_point_at(seq)

    def shown_point_for(self, real: MailboxPoint) -> MailboxPoint:
        """The point of the client's for one of the node's: what it acknowledged, else the last that covers no more. One that is not known stays as it is."""
        if self.node_point_at(self.acknowledged.seq).seq == real.seq:
            return self.acknowledged
        known = [here for here, covered in self._spots() if covered.seq <= real.seq]
        return known[-1] if known else real

    def entries_after(self, seq: int) -> list[ShownEntry]:
        """What was told behind this number; what is false is told again and again."""
        return self.log[self.log_index_after(seq) :]

    def log_index_after(self, seq: int) -> int:
        """Where in the log that begins."""
        for place, told in enumerate(self.log):
            if told.shown_point.seq > seq or (told.is_exact and told.entry["seq"] > seq):
                return place
        return len(self.log)

    def is_new(self, entry: Body) -> bool:
        """Whether the node has not told this one before."""
        return _end(entry).seq > self.real.seq

    def add_node_entry(self, entry: Body, told: Entries) -> None:
        """Put in what is told for one entry of the node's; nothing leaves it out."""
        before, after = self.real, _end(entry)
        for number, each in enumerate(told, 1):
            self._put(
                each, after if number == len(told) else before, is_same=each is entry and self.shown_point == before
            )
        self.real = after
        if "messageId" in entry:
            self._numbers[entry["messageId"]] = entry["seq"]

    def insert(self, entry: Body | VerbatimEntry) -> None:
        """Put in what no node got."""
        self._put(entry, self.real, is_same=False)

    def node_seq(self, seq: int) -> int | None:
        """The node's number for one of the client's; None for what the node knows nothing of."""
        told = next((each for each in self.log if each.entry["seq"] == seq and not each.is_exact), None)
        return (
            None if told is None else self._numbers.get(told.entry["messageId"]) if "messageId" in told.entry else None
        )

    def _put(self, entry: Body | VerbatimEntry, real: MailboxPoint, *, is_same: bool) -> None:
        if isinstance(entry, VerbatimEntry):
            here = _end(entry.entry) if "tombstone" in entry.entry else self.shown_point
            self.log.append(ShownEntry(entry.entry, here, real, is_exact=True))
            return
        told = entry if is_same else chain_entry(entry, self.shown_point)
        self.log.append(ShownEntry(told, _end(told), real))

    def _spots(self) -> Iterable[tuple[MailboxPoint, MailboxPoint]]:
        if self._base is not None:
            yield self._base
        for told in self.log:
            yield told.shown_point, told.node_point


def chain_entry(entry: Body, before: MailboxPoint) -> Body:
    """This entry behind that point, as an honest chain has it."""
    seq = before.seq + 1
    if "tombstone" in entry:
        count = entry["tombstone"]["count"]
        head = sha256(before.head + seq.to_bytes(8, "big") + sha256(b"tombstone").digest()).digest()
        return {**entry, "seq": seq, "throughSeq": seq + count - 1, "head": base64_text(head)}
    head = sha256(before.head + seq.to_bytes(8, "big") + entry_digest(entry)).digest()
    return {**entry, "seq": seq, "head": base64_text(head)}


def _end(entry: Body) -> MailboxPoint:
    seq: int = entry["throughSeq"] if "throughSeq" in entry else entry["seq"]
    return MailboxPoint(seq, to_bytes(entry["head"]))


def _fits(point: MailboxPoint, here: MailboxPoint) -> bool:
    return point.seq == 0 or not here.head or point.head == here.head
