"""The mailbox agent: reads the work records of its partitions and adds their mailboxes to the depositor.

Offsets do not matter: the sweeper finds what was read and not deposited when a process died. So an agent never waits for the database.
"""

from collections.abc import AsyncIterable
from typing import Protocol

from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.routing import DepositQueue
from vyry.mail.work_record import unpack
from vyry.telemetry import REJECTED_WORK_RECORDS, log


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
        meter.count_received(message.partition, mailboxes, message.timestamp)
        depositor.add(mailboxes)
