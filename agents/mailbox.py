"""The mailbox agent: takes mailbags of its partitions and feeds their mailboxes to the depositor.

Offsets mean nothing here: what was taken and not deposited when the process died is found by the sweeper. So an agent never waits for the database.
"""

from collections.abc import AsyncIterable

from vyry.mail.routing import DepositQueue
from vyry.mail.work_record import unpack
from vyry.telemetry import REJECTED_WORK_RECORDS, log


async def deposit_work_records(records: AsyncIterable[bytes], depositor: DepositQueue) -> None:
    """Feed every mailbox of every work record to the depositor; a malformed record is counted and skipped."""
    async for packed in records:
        try:
            depositor.add(unpack(packed))
        except (ValueError, TypeError) as problem:
            REJECTED_WORK_RECORDS.inc()
            log.warning("work_record_rejected", error=str(problem), size=len(packed or b""))
