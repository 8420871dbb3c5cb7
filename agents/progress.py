"""How far the agents of one app have read their partitions, and whether they read at all.

Faust is known to stop fetching after a rebalance without an error. The end of a partition comes from the broker and the last record from the agent, so
neither Faust's nor aiokafka's own idea of its position can hide that.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.partitions import STALLED_SECONDS
from vyry.mail.workers import PartitionReport
from vyry.telemetry import PARTITION_LAG


class AgentsStalled(Exception):
    """Records wait in these partitions, and the agents have read none for `STALLED_SECONDS`."""

    def __init__(self, partitions: Sequence[int]) -> None:
        super().__init__(f"partitions {', '.join(map(str, partitions))}")
        self.partitions = partitions


@dataclass(slots=True)
class _Reading:
    """One partition: the next offset when it was assigned, and since when its records wait."""

    first: int
    since: float
    behind: int = 0
    behind_since: float | None = None


class Progress:
    """The progress of one app."""

    def __init__(self, meter: PartitionMeter, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._meter = meter
        self._monotonic = monotonic
        self._readings: dict[int, _Reading] = {}

    async def measure(self, consumer: Any) -> None:
        """Ask the brokers for the ends of the partitions. Raises AgentsStalled."""
        assigned = set(consumer.assignment())
        ends = await consumer.highwaters(*assigned) if assigned else {}
        now = self._monotonic()
        self._readings = {
            tp.partition: self._readings.get(tp.partition) or _Reading(await _position(consumer, tp, end), now)
            for tp, end in ends.items()
        }
        for tp, end in ends.items():
            self._update(tp.partition, end, now)
        stalled = [number for number in sorted(self._readings) if self._is_stalled(number, now)]
        if stalled:
            raise AgentsStalled(stalled)

    def reports(self, partitions: Sequence[int]) -> list[PartitionReport]:
        """The last measurement of these partitions."""
        return [self._report(number) for number in partitions]

    def _update(self, number: int, end: int, now: float) -> None:
        reading = self._readings[number]
        last = self._meter.last_offset(number)
        reading.behind = max(0, end - max(reading.first, last + 1))
        reading.behind_since = (reading.behind_since or now) if reading.behind else None
        PARTITION_LAG.labels(str(number)).set(reading.behind)

    def _is_stalled(self, number: int, now: float) -> bool:
        reading = self._readings[number]
        if reading.behind_since is None or now - reading.since < STALLED_SECONDS:
            return False
        idle = self._meter.read(number).idle_seconds
        return now - reading.behind_since >= STALLED_SECONDS and (idle is None or idle >= STALLED_SECONDS)

    def _report(self, number: int) -> PartitionReport:
        rates, reading = self._meter.read(number), self._readings.get(number)
        since = reading.behind_since if reading else None
        return PartitionReport(
            number=number,
            records_behind=reading.behind if reading else 0,
            seconds_behind=0.0 if since is None else self._monotonic() - since,
            received_per_second=rates.received_per_second,
            deposited_per_second=rates.deposited_per_second,
            idle_seconds=rates.idle_seconds,
            worst_seconds=rates.worst_seconds,
        )


async def _position(consumer: Any, tp: TP, end: int) -> int:
    """The next offset, which is unknown to a consumer that has not fetched yet."""
    position = await consumer.position(tp)
    return end if position is None else min(int(position), end)
