"""The mailbox agent: reads the work records of its partitions and adds their mailboxes to the depositor.

Offsets do not matter: the sweeper finds what was read and not deposited when a process died. So an agent never waits for the database.
"""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Protocol

from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.routing import DepositQueue
from vyry.mail.work_record import unpack
from vyry.telemetry import REJECTED_WORK_RECORDS, log
from vyry.tracing import TRACE_HEADER, unpack_contexts


class Message(Protocol):
    """Where a record is from."""

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def offset(self) -> int:
        """Its number in the partition."""
        ...

    @property
    def timestamp(self) -> float:
        """When it was sent, in seconds; 0 if unknown."""
        ...

    @property
    def headers(self) -> object:
        """Its headers: pairs or a mapping of names and bytes, or nothing."""
        ...


class Record(Protocol):
    """A record of the work topic, as Faust gives it to an agent."""

    @property
    def value(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def message(self) -> Message:
        """Where it is from."""
        ...


async def deposit_work_records(records: AsyncIterable[Record], depositor: DepositQueue, meter: PartitionMeter) -> None:
    """Add every mailbox of every record to the depositor, also one of another partition: the number of partitions may have changed.

    A malformed record is counted and skipped.
    """
    async for record in records:
        message = record.message
        meter.count_record(message.partition, message.offset)
        try:
            mailboxes = unpack(record.value)
        except (ValueError, TypeError) as problem:
            REJECTED_WORK_RECORDS.inc()
            log.warning("work_record_rejected", error=str(problem), size=len(record.value or b""))
            continue
        unpack_contexts(_trace_header(message))
        meter.count_received(message.partition, mailboxes, message.timestamp)
        depositor.add(mailboxes)


def _trace_header(message: Message) -> bytes:
    headers = message.headers
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    found = dict(pairs).get(TRACE_HEADER, b"") if isinstance(pairs, Iterable) and headers else b""
    return found if isinstance(found, bytes) else b""
