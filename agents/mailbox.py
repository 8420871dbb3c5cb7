"""The mailbox agent: takes mailbags of its partitions and feeds their mailboxes to the depositor.

Offsets mean nothing here: what was taken and not deposited when the process died is found by the sweeper. So an agent never waits for the database.
"""

from collections.abc import AsyncIterable

from vyry.mail.mailbag import unpack
from vyry.mail.routing import Feed
from vyry.telemetry import PARKED, log


async def sort_mailbags(mailbags: AsyncIterable[bytes], depositor: Feed) -> None:
    """Feed every mailbox of every bag; a record that is no mailbag is counted and passed over."""
    async for packed in mailbags:
        try:
            depositor.add(unpack(packed))
        except (ValueError, TypeError) as problem:
            PARKED.inc()
            log.warning("mailbag parked", error=str(problem), size=len(packed or b""))
