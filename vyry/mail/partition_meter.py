"""What a process reads and deposits per partition: the rates of the last minute, and the worst age of an envelope at its deposit."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from vyry.clock import Clock
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import Deposited
from vyry.mail.work_record import partition_of


WINDOW_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class _Tick:
    """What was counted in a span of time."""

    ends_at: float
    seconds: float
    received: int
    deposited: int
    worst: float


@dataclass(slots=True)
class _Counts:
    """One partition: the counts since the last tick, and those of each tick of the last minute."""

    received: int = 0
    deposited: int = 0
    worst: float = 0.0
    last_record: float | None = None
    last_offset: int = -1
    ticks: deque[_Tick] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class PartitionRates:
    """Means and the worst age over the last minute, or since the partition arrived. `idle_seconds` is None before the first record."""

    received_per_second: float
    deposited_per_second: float
    worst_seconds: float
    idle_seconds: float | None


class PartitionMeter:
    """Counts without waiting; `tick` is called every few seconds."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        #: The number of partitions that mailboxes are counted by.
        self.partitions = 1
        self._clock = clock
        self._monotonic = monotonic
        self._ticked_at = monotonic()
        #: The partition and the time of the record of each mailbox that waits for its deposit.
        self._sent_at: dict[MailboxKey, tuple[int, float]] = {}
        self._counts: defaultdict[int, _Counts] = defaultdict(_Counts)

    def count_record(self, partition: int, offset: int) -> None:
        """A record was read."""
        counts = self._counts[partition]
        counts.last_record = self._monotonic()
        counts.last_offset = offset

    def count_received(self, partition: int, mailboxes: Collection[MailboxKey], sent_at: float) -> None:
        """The record had these mailboxes, and was sent at that time (0 if unknown)."""
        self._counts[partition].received += len(mailboxes)
        if sent_at:
            for mailbox in mailboxes:
                self._sent_at.setdefault(mailbox, (partition, sent_at))

    def count_deposited(self, mailboxes: Iterable[MailboxKey], rows: Iterable[Deposited]) -> None:
        """The envelopes of these mailboxes got their numbers."""
        for row in rows:
            self._counts[partition_of(row.mailbox, self.partitions)].deposited += 1
        now = self._clock.now().timestamp()
        for mailbox in mailboxes:
            sent = self._sent_at.pop(mailbox, None)
            if sent is not None:
                self.raise_worst(sent[0], now - sent[1])

    def raise_worst(self, partition: int, seconds: float) -> None:
        """An envelope of this partition waited so long for its number, or waits still."""
        counts = self._counts[partition]
        counts.worst = max(counts.worst, seconds)

    def tick(self) -> None:
        """End a span of time."""
        now = self._monotonic()
        seconds, self._ticked_at = now - self._ticked_at, now
        for counts in self._counts.values():
            counts.ticks.append(_Tick(now, seconds, counts.received, counts.deposited, counts.worst))
            counts.received, counts.deposited, counts.worst = 0, 0, 0.0
            while counts.ticks[0].ends_at <= now - WINDOW_SECONDS:
                counts.ticks.popleft()

    def read(self, partition: int) -> PartitionRates:
        """The rates of a partition."""
        counts = self._counts[partition]
        seconds = max(1.0, sum(each.seconds for each in counts.ticks))
        return PartitionRates(
            sum(each.received for each in counts.ticks) / seconds,
            sum(each.deposited for each in counts.ticks) / seconds,
            max((each.worst for each in counts.ticks), default=0.0),
            None if counts.last_record is None else self._monotonic() - counts.last_record,
        )

    def last_offset(self, partition: int) -> int:
        """The offset of the last record, -1 before the first."""
        return self._counts[partition].last_offset

    def keep(self, partitions: Iterable[int]) -> None:
        """Forget all other partitions: they have another worker."""
        self._counts = defaultdict(_Counts, {number: self._counts[number] for number in partitions})
