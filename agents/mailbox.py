"""The mailbox agent: reads the work records of its partitions and adds their mailboxes to the depositor.

Offsets do not matter: the sweeper finds what was read and not deposited when a process died. So an agent never waits for the database.
"""

from collections.abc import AsyncIterable

from vyry.mail.routing import DepositQueue
from vyry.mail.work_record import unpack
from vyry.telemetry import REJECTED_WORK_RECORDS, log


async def deposit_work_records(records: AsyncIterable[bytes], depositor: DepositQueue) -> None:
    """Add every mailbox of every record to the depositor; a malformed record is counted and skipped."""
    async for packed in records:
        try:
            depositor.add(unpack(packed))
        except (ValueError, TypeError) as problem:
            REJECTED_WORK_RECORDS.inc()
            log.warning("work_record_rejected", error=str(problem), size=len(packed or b""))
