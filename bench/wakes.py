"""What planned wake-ups cost a deposit in PostgreSQL, in turns within one run: python -m scripts.with_services -- python -m bench.wakes.

The disk is left out (synchronous_commit), for it is the same for all and most of the time on a shared machine; each round is compared with itself.
"""

import asyncio
import statistics
import time
from collections.abc import Collection, Sequence
from typing import Final

from tests.support.databases import database_url, execute, migrate, temporary_database
from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import Acknowledgement, MailboxCaps
from vyry.storage.database import connection
from vyry.storage.models import DeviceRow, PushTargetRow


ROUNDS: Final = 300
#: Not counted: plans and caches.
WARM: Final = 20
_UNPUSHED: Final = "UPDATE mailbox SET is_pushed = FALSE"
_PUSHED: Final = "UPDATE mailbox SET is_pushed = TRUE"
_TRIGGER: Final = "ALTER TABLE mailbox {} TRIGGER mailbox_wakes"
#: What is said before a round of each kind.
KINDS: Final = {
    "no trigger": (_TRIGGER.format("DISABLE"), _UNPUSHED),
    "nobody has a target": (_TRIGGER.format("ENABLE"), _UNPUSHED),
    "all have one and are awake": (_TRIGGER.format("ENABLE"), _PUSHED),
    "all have one and sleep": (_TRIGGER.format("ENABLE"), _PUSHED, "DELETE FROM push_wake"),
}


async def deposit_micros(harness: MailStoreHarness, boxes: Collection[MailboxKey], statements: Sequence[str]) -> float:
    """After these statements, one deposit of an envelope for each mailbox, which is empty before and after; microseconds an envelope."""
    for statement in statements:
        await connection().execute_query(statement)
    await harness.post(*[make_message(box) for box in boxes])
    began = time.perf_counter()
    rows = await harness.store.deposit(boxes)
    took = time.perf_counter() - began
    await harness.store.acknowledge([Acknowledgement(row.mailbox, row.seq, row.head, 1 << 40) for row in rows])
    return took * 1e6 / len(boxes)


async def measure(url: str, count: int) -> dict[str, list[float]]:
    """What every round took, by kind."""
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with open_mail_store(url, MailboxCaps()) as harness:
        boxes = [await harness.add_mailbox() for _ in range(count)]
        for box in boxes:
            row = await DeviceRow.get(mailbox=box)
            await PushTargetRow(device=row.id, kind="fcm", token="t").save(force_create=True)
        for _ in range(ROUNDS):
            for kind, statements in KINDS.items():
                # The first one makes plans anew, for the table has changed.
                tries = [await deposit_micros(harness, boxes, statements) for _ in range(2)]
                took[kind].append(tries[-1])
    return {kind: each[WARM:] for kind, each in took.items()}


def format_quartiles(values: Sequence[float]) -> str:
    """The median, and the quartiles around it."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """Measure batches of one and of many, and print what an envelope takes, and what it takes more than without a trigger."""
    with temporary_database("wakes") as name:
        migrate(database_url(name))
        execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        for count in (1, 64):
            took = asyncio.run(measure(database_url(name), count))
            plain = took["no trigger"]
            for kind, each in took.items():
                more = [value - without for value, without in zip(each, plain, strict=True)]
                print(
                    f"{count:3} at once, {kind}: {format_quartiles(each)} us an envelope, {format_quartiles(more)} more"
                )


if __name__ == "__main__":
    main()
