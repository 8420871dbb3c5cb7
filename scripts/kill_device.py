"""`python -m scripts.kill_device FOLDER URL CONVERSATION...`: a device that says numbers, in each conversation in turn, and writes down what it reads, until somebody kills it (scripts.kill_loop).

It goes on where the one before it was killed. While the file `stop` lies beside its folder it says nothing new.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from scripts.kill_journal import Journal, values_of
from vyry.client.api.client import Client, Profile


#: At most so long between two messages.
PAUSE_SECONDS = 0.08
#: Notices by the node, and receipts, are none of our numbers.
_EXPECTED = {"notice", "receipt"}


async def post_numbers(client: Client, conversations: Sequence[UUID], journal: Journal, stop: Path) -> None:
    """Say one number after the other; some texts are long, so that all sizes are met."""
    number = max(values_of(journal.lines(), "intended"), default=0)
    while not await asyncio.to_thread(stop.exists):
        number += 1
        journal.write_line(intended=number)
        await client.send_text(
            conversations[number % len(conversations)], f"{number} " + "x" * random.choice((0, 0, 0, 600, 20_000))
        )
        journal.write_line(kept=number)
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))


async def record_received(client: Client, journal: Journal) -> None:
    """Write down what comes, before the next is asked for."""
    async for event in client.events():
        if event.name == "message":
            journal.write_line(read=int(event.body["text"].split()[0]))
        elif event.name not in _EXPECTED:
            journal.write_line(odd=f"{event.name} {event.body}")


async def run_device(folder: Path, url: str, conversations: Sequence[UUID]) -> None:
    """Until the end, which is a kill."""
    journal = Journal(folder.with_suffix(".jsonl"))
    async with Client.open(Profile(folder, url)) as client, asyncio.TaskGroup() as tasks:
        journal.write_line(began=True)
        tasks.create_task(post_numbers(client, conversations, journal, folder.parent / "stop"))
        tasks.create_task(record_received(client, journal))


if __name__ == "__main__":
    asyncio.run(run_device(Path(sys.argv[1]), sys.argv[2], [UUID(each) for each in sys.argv[3:]]))
