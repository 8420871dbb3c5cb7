"""A transfer of the history in which the old device, the new device and the node are killed at random moments: nothing is lost, doubled or out of order."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.e2e.test_history_transfer import Shown, history_of, link_with
from tests.support.sdk_clients import open_client, register
from vyry.client.api.client import Client
from vyry.client.store.events import Message
from vyry.client.store.journal import Journal
from vyry.client.store.store import Store


pytestmark = pytest.mark.timeout(580)
KILLS = 20
MESSAGES = 4_000
COMMAND = (sys.executable, "-m", "vyry.cli.main", "client", "devices", "history")


def fill(store: Store, chat: UUID, me: UUID, other: UUID) -> None:
    """A long history, as if it had been written before."""
    journal = Journal(store)
    with store.transaction():
        for number in range(MESSAGES):
            sender = me if number % 2 else other
            common: dict[str, Any] = {
                "conversation_id": chat,
                "sender_id": sender,
                "sender_device_id": 1,
                "id": uuid4(),
            }
            text = f"line {number} " + "and more words " * 20
            journal.add(Message(**common, at=number + 1, is_own=sender == me, text=text), is_handled=True)


@asynccontextmanager
async def transferring(node: AllInOneProcess, profile: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A device that goes on with its transfer until the context ends it."""
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(profile.parent), "PATH": "/usr/bin:/bin"}
    pipe = asyncio.subprocess.PIPE
    line = (*COMMAND, "--profile", str(profile), "--url", node.url)
    process = await asyncio.create_subprocess_exec(*line, env=environment, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def run_until(node: AllInOneProcess, moment: float, *profiles: Path) -> list[int | None]:
    """Let both devices go on, and kill them at this moment; the exit codes of those that ended before."""
    async with transferring(node, profiles[0]) as old, transferring(node, profiles[1]) as new:
        with suppress(TimeoutError):
            async with asyncio.timeout(moment):
                await asyncio.gather(old.wait(), new.wait())
        return [old.returncode, new.returncode]


async def is_pending(node: AllInOneProcess, *profiles: Path) -> bool:
    for profile in profiles:
        async with open_client(node, profile) as client:
            if client.history.is_pending:
                return True
    return False


async def read_all(client: Client) -> None:
    async with asyncio.timeout(60):
        async for _ in client.events(follow=False):
            pass


@dataclass
class Killer:
    """Kills the devices and the node of a transfer at random moments."""

    node: AllInOneProcess
    profiles: tuple[Path, Path]
    chances: random.Random
    kills: int = 0

    async def run(self, write: Callable[[str], Awaitable[object]]) -> None:
        """Until the transfer is complete or everything was killed often enough; another account writes meanwhile."""
        while self.kills < KILLS and await is_pending(self.node, *self.profiles):
            await write(f"live {self.kills}")
            codes = await run_until(self.node, self.chances.uniform(0.3, 1.6), *self.profiles)
            self.kills += codes.count(None)
            if self.chances.random() < 0.3:
                await asyncio.to_thread(self.node.kill)
                self.kills += 1
                await asyncio.to_thread(self.node.start)

    async def finish(self) -> None:
        """Let both devices go on until nothing is pending."""
        for _ in range(5):
            if not await is_pending(self.node, *self.profiles):
                return
            await run_until(self.node, 60, *self.profiles)


async def both_histories(node: AllInOneProcess, profiles: tuple[Path, Path], chat: UUID) -> list[Shown]:
    """What both devices show once they have read their mail."""
    found = []
    for profile in profiles:
        async with open_client(node, profile) as client:
            await read_all(client)
            assert not client.history.is_pending
            found.append(history_of(client, chat))
    return found


async def test_both_devices_show_the_same_after_kills_of_either_and_of_the_node(tmp_path: Path) -> None:
    profiles = tmp_path / "ann", tmp_path / "laptop"
    with AllInOneProcess() as node:
        killer = Killer(node, profiles, random.Random(18))
        async with open_client(node, tmp_path / "bo") as bo:
            async with open_client(node, profiles[0]) as ann, open_client(node, profiles[1]) as laptop:
                await register(ann, node)
                bo_id = await register(bo, node)
                chat = await ann.direct(bo_id)
                await asyncio.to_thread(fill, ann._store, chat, ann.user_id, bo_id)
                # Ended at once: the devices that go on are processes that can be killed.
                await link_with(ann, laptop, "all")
            await killer.run(partial(bo.send_text, chat))
            await bo.sent()
            await killer.finish()
            one, other = await both_histories(node, profiles, chat)

    ids = [each[1] for each in other]
    assert killer.kills > 0
    assert len(ids) == len(set(ids)) >= MESSAGES
    assert one == other
    assert other[0][2].startswith("line 0 ")
