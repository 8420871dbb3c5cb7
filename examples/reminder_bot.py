"""Reminds people, whatever is killed in between: `remind 300 of the tea`. First `vyry client register NUMBER --profile ./bot`, then `python examples/reminder_bot.py ./bot [URL]`."""

import asyncio
import re
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID, uuid5

from vyry.client.client import Client, Profile
from vyry.client.events import Event, Message


class Bot:
    """What is sent has an id made of the event's: after a kill it is sent again under the same one, and comes once."""

    def __init__(self, client: Client, table: sqlite3.Connection) -> None:
        self.client, self.table, self.changed = client, table, asyncio.Event()

    async def hear(self, event: Event) -> None:
        """Keep a reminder, then say so: an event that was not done with comes again."""
        asked = re.fullmatch(r"remind (\d{1,8}) (.+)", event.text, re.DOTALL) if isinstance(event, Message) else None
        if isinstance(event, Message) and not event.is_own and asked is not None:
            row = (str(event.id), str(event.conversation_id), event.at / 1_000 + int(asked[1]), asked[2])
            with self.table:
                self.table.execute("INSERT OR IGNORE INTO reminder VALUES (?, ?, ?, ?)", row)
            self.changed.set()
            await self.client.send_text(event.conversation_id, f"I will: {asked[2]}", uuid5(event.id, "kept"))

    async def remind(self) -> None:
        """Say what is due, forget it, and wait for the next."""
        while True:
            self.changed.clear()
            found = self.table.execute("SELECT id, chat, due, words FROM reminder ORDER BY due LIMIT 1").fetchone()
            wait = found[2] - time.time() if found else None
            if found and found[2] <= time.time():
                await self.client.send_text(UUID(found[1]), f"Now: {found[3]}", uuid5(UUID(found[0]), "due"))
                with self.table:
                    self.table.execute("DELETE FROM reminder WHERE id = ?", (found[0],))
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), wait)


async def main(folder: str, url: str = "http://127.0.0.1:8000") -> None:
    """Hear and remind until a signal."""
    with closing(sqlite3.connect(Path(folder, "reminders.db"))) as table:
        table.execute("CREATE TABLE IF NOT EXISTS reminder (id TEXT PRIMARY KEY, chat TEXT, due REAL, words TEXT)")
        async with Client.open(Profile(Path(folder), url)) as client, asyncio.TaskGroup() as tasks:
            bot = Bot(client, table)
            reminding = tasks.create_task(bot.remind())
            await client.run(bot.hear)  # Until Ctrl-C or SIGTERM.
            reminding.cancel()


asyncio.run(main(*sys.argv[1:]))
