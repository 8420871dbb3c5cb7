"""The screen of `vyry client chat` under test: in this process, and in a pseudo-terminal."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from textual.pilot import Pilot
from textual.widgets import OptionList

from scripts.nodes import ROOT
from vyry.cli.client.chat.screen import ChatApp
from vyry.client.api.client import Client


@asynccontextmanager
async def screen(client: Client, chat: UUID | None) -> AsyncIterator[Pilot[None]]:
    app = ChatApp(client, client.user_id, chat)
    async with app.run_test(size=(110, 32)) as pilot:
        yield pilot


def shown(pilot: Pilot[None], where: str = "#history") -> str:
    """The rows of a list as they are painted."""
    rows = pilot.app.query_one(where, OptionList).options
    return "\n".join(str(row.prompt) for row in rows)


async def until(pilot: Pilot[None], claim: Callable[[], bool]) -> None:
    """Come back when the screen shows it."""
    async with asyncio.timeout(20):
        while not claim():
            await pilot.pause(0.02)


async def type_in(pilot: Pilot[None], words: str) -> None:
    await pilot.press(*("space" if letter == " " else letter for letter in words), "enter")


class Screen:
    """A real terminal with `vyry client chat` in it."""

    def __init__(self, home: Path, *words: str) -> None:
        self.seen = b""
        self._pid, self._line = pty.fork()
        if self._pid == 0:
            os.environ.update(HOME=str(home), TERM="xterm-256color", COLUMNS="100", LINES="30", PYTHONPATH=str(ROOT))
            os.execv(sys.executable, [sys.executable, "-m", "vyry.cli.main", "client", "chat", *words])

    async def shows(self, words: bytes) -> None:
        """Come back when this was painted."""
        async with asyncio.timeout(30):
            while words not in self.seen:
                self.seen += await asyncio.to_thread(os.read, self._line, 65_536)

    def press(self, keys: bytes) -> None:
        os.write(self._line, keys)

    async def ended(self) -> int:
        """The exit code, once everything it painted was read."""
        async with asyncio.timeout(30):
            while True:
                try:
                    self.seen += await asyncio.to_thread(os.read, self._line, 65_536)
                except OSError:
                    break
        _, status = await asyncio.to_thread(os.waitpid, self._pid, 0)
        os.close(self._line)
        return os.waitstatus_to_exitcode(status)
