"""Faust's transport without a broker: the work records of this process go straight to the agents.

Faust 0.15.3 has no such transport (its memory:// is a table store and a cache; docs/adr/0003-faust-without-a-broker.md). This is the least its consumer
needs: partitions that are assigned once, records from `receive`, offsets that count up. Work records are hints: there is nothing to seek or recover.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, runtime_checkable

from faust.transport.base import Transport
from faust.transport.consumer import Consumer
from faust.types import TP, AppT, ConsumerMessage
from yarl import URL


#: Of the one assignment there ever is.
_GENERATION: Final = 1


@runtime_checkable
class WorkRecordSource(Protocol):
    """Where work records come from."""

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        ...

    async def receive(self) -> dict[int, list[bytes]]:
        """Wait for work records and return all by partition."""
        ...


class OffsetlessConsumer(Consumer):
    """The methods of a consumer about stored offsets, for a topic that stores nothing: its position never changes by them."""

    def __post_init__(self) -> None:
        """Begin without partitions; Faust calls this at the end of its constructor."""
        self._next_offset: dict[TP, int] = {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:  # noqa: ARG002 - Faust's signatures, here and below
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Stay."""
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        """Stay."""

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Stay."""

    async def position(self, tp: TP) -> int | None:
        """The next offset."""
        return self._next_offset.get(tp)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The next offsets: every record was read."""
        return {tp: self._next_offset[tp] for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The next offsets."""
        return await self.highwaters(*partitions)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:  # noqa: ARG002
        """The partition as given: agents send nothing."""
        return partition

    async def create_topic(self, *_: Any, **__: Any) -> None:
        """Create nothing."""


class InProcessConsumer(OffsetlessConsumer):
    """Reads the work records of this process."""

    transport: "InProcessTransport"

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of the topics, for good."""
        partitions = range(self.transport.source.partitions)
        self._next_offset = {TP(topic, partition): 0 for topic in topics for partition in partitions}
        self.app.consumer_generation_id = _GENERATION
        self.app.on_rebalance_start()
        # Not awaited: Faust goes on with an assignment only after this method has returned.
        self._assigning = self.add_future(self.on_partitions_assigned(self.assignment(), _GENERATION))

    def assignment(self) -> set[TP]:
        """All partitions."""
        return set(self._next_offset)

    def topic_partitions(self, topic: str) -> int | None:  # noqa: ARG002
        """The number of partitions of each topic."""
        return self.transport.source.partitions

    def highwater(self, tp: TP) -> int:
        """The next offset."""
        return self._next_offset[tp]

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:  # noqa: ARG002
        # The conductor subscribes to the work topic only, so the number identifies the partition.
        by_number = {tp.partition: tp for tp in self._next_offset}
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                records = await self.transport.source.receive()
                return {
                    by_number[number]: self._numbered(by_number[number], filled) for number, filled in records.items()
                }
        return {}

    def _numbered(self, tp: TP, filled: list[bytes]) -> list[tuple[int, bytes]]:
        first = self._next_offset[tp]
        self._next_offset[tp] = first + len(filled)
        return list(enumerate(filled, first))

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        offset, value = record
        key, checksum = None, None
        return ConsumerMessage(
            tp.topic, tp.partition, offset, 0.0, 0, [], key, value, checksum, tp=tp, generation_id=_GENERATION
        )

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


class InProcessTransport(Transport):
    """Creates the consumer of one app."""

    Consumer = InProcessConsumer
    driver_version = "in-process"

    def __init__(self, app: AppT, source: WorkRecordSource) -> None:
        super().__init__([URL("memory://")], app)
        self.source = source
