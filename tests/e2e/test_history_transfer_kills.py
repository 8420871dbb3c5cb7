"""A transfer of the history in which the old device, the new device and the node are killed at random moments: nothing is lost, doubled or out of order."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
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
#: Of all three together.
KILLS = 20
MESSAGES = 2_000
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
    """Kills the devices and the node of transfers at random moments."""

    node: AllInOneProcess
    old: Path
    chances: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    async def run(self, new: Path, write: Callable[[str], Awaitable[object]]) -> None:
        """Until the transfer to this device is complete or everything was killed often enough; another account writes meanwhile."""
        while self.kills.total() < KILLS and await is_pending(self.node, self.old, new):
            await write(f"live {self.kills.total()}")
            codes = await run_until(self.node, self.chances.uniform(0.6, 1.4), self.old, new)
            self.kills.update(name for name, code in zip(("old", "new"), codes, strict=True) if code is None)
            if self.chances.random() < 0.3:
                await asyncio.to_thread(self.node.kill)
                self.kills["node"] += 1
                await asyncio.to_thread(self.node.start)

    async def finish(self, new: Path) -> None:
        """Let both devices go on until nothing is pending."""
        for _ in range(5):
            if not await is_pending(self.node, self.old, new):
                return
            await run_until(self.node, 60, self.old, new)


async def shown_by(node: AllInOneProcess, profile: Path, chat: UUID) -> Shown:
    """What a device shows once it has read its mail."""
    async with open_client(node, profile) as client:
        await read_all(client)
        assert not client.history.is_pending
        return history_of(client, chat)


async def test_all_devices_show_the_same_after_20_kills_of_either_and_of_the_node(tmp_path: Path) -> None:
    old, laptops = tmp_path / "ann", list[Path]()
    with AllInOneProcess() as node:
        killer = Killer(node, old, random.Random(18))
        async with open_client(node, tmp_path / "bo") as bo:
            async with open_client(node, old) as ann:
                await register(ann, node)
                chat = await ann.direct(bo_id := await register(bo, node))
                await asyncio.to_thread(fill, ann._store, chat, ann.user_id, bo_id)
            # A transfer that is complete too soon is followed by one to another device.
            while killer.kills.total() < KILLS:
                laptops.append(tmp_path / f"laptop{len(laptops)}")
                async with open_client(node, old) as ann, open_client(node, laptops[-1]) as laptop:
                    # Ended at once: the devices that go on are processes that can be killed.
                    await link_with(ann, laptop, "all")
                await killer.run(laptops[-1], partial(bo.send_text, chat))
                await killer.finish(laptops[-1])
            await bo.sent()
        one, *others = [await shown_by(node, each, chat) for each in (old, *laptops)]

    ids = [each[1] for each in one]
    assert min(killer.kills[each] for each in ("old", "new", "node")) > 0
    assert len(ids) == len(set(ids)) >= MESSAGES
    assert all(other == one for other in others)
    assert one[0][2].startswith("line 0 ")
