"""`python -m scripts.kill_loop [--kills 200] [--seed N]`: two devices of the SDK and a node, each a process, are killed (SIGKILL) at random while they talk.

Both devices say numbers without end, in turn between the two and in a group, and write down what they read (scripts.kill_device). When all kills are done everybody is left alone until all
that was said is read; then the journals are judged. Exit code 0: nothing was lost, doubled, out of order or odd, and every chain held (a device whose
mailbox does not follow from what it saw ends by itself, which is a fault here). Exit code 1: what was wrong is printed.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from scripts.kill_journal import find_faults, read, read_numbers, unread_numbers, values_of
from scripts.nodes import ROOT, AllInOneProcess
from scripts.services import end_with_parent
from vyry.client.api.client import Client, Profile


#: How long what was said may take to be read once nobody is killed any more.
TIMEOUT_SECONDS = 90.0
_POLL_SECONDS = 0.2
#: At most so long from when a process is at work to its end.
LIFE_SECONDS = 1.0
#: The share of devices killed before they are at work: while they open their store, or connect.
EARLY = 0.25
_EARLY_SECONDS = 1.0


class DeviceEnded(Exception):
    """A device ended, or stood still, without being killed."""


class DeviceProcess:
    """One device as a process; its folder and journal stay over kills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder.with_suffix(".jsonl")
        self._log = folder.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, url: str, conversations: Sequence[UUID]) -> None:
        """A new process; come back at once."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scripts.kill_device", str(self.folder), url, *map(str, conversations)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        end_with_parent(self._process.pid)

    async def kill(self) -> None:
        """End it as a crash would. Raises DeviceEnded when it was not there any more."""
        assert self._process is not None
        if self._process.returncode is not None:
            raise DeviceEnded(f"{self.folder.name} ended by itself:\n{self._log.read_text()[-4000:]}")
        self._process.kill()
        await self._process.wait()

    async def wait_for_activity(self) -> None:
        """Come back once this process has said or read something, or has ended. Raises DeviceEnded when it does nothing at all."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._process.stdout.readline()
        except TimeoutError:
            raise DeviceEnded(f"{self.folder.name} did nothing for {TIMEOUT_SECONDS:g} s") from None


@dataclass(slots=True)
class KillRun:
    """One run."""

    node: AllInOneProcess
    devices: list[DeviceProcess]
    conversations: Sequence[UUID]
    kills: int
    chance: random.Random
    kill_counts: Counter[str] = field(default_factory=Counter)

    async def kill_all_kinds(self) -> None:
        """Kill until it is enough: each of the three goes its own way, so any two may be down at once."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kill_node())
            for device in self.devices:
                tasks.create_task(self._kill_device(device))

    async def _kill_device(self, device: DeviceProcess) -> None:
        await device.start(self.node.url, self.conversations)
        while self._is_another(device.folder.name):
            if self.chance.random() < EARLY:
                await asyncio.sleep(self.chance.uniform(0, _EARLY_SECONDS))
            else:
                await device.wait_for_activity()
                await asyncio.sleep(self.chance.uniform(0, LIFE_SECONDS))
            await device.kill()
            await device.start(self.node.url, self.conversations)

    async def _kill_node(self) -> None:
        while self._is_another("node"):
            await asyncio.sleep(self.chance.uniform(0, 2 * LIFE_SECONDS))
            await asyncio.to_thread(self.node.kill)
            await asyncio.to_thread(self.node.start)

    def _is_another(self, name: str) -> bool:
        if self.kill_counts.total() >= self.kills:
            return False
        self.kill_counts[name] += 1
        if self.kill_counts.total() % 20 == 0:
            print(f"{self.kill_counts.total()} of {self.kills} kills: {self.progress_text()}", flush=True)
        return True

    async def wait_until_all_read(self) -> None:
        """Let everything that was said be read; who is not done in time has lost it."""
        (self.devices[0].folder.parent / "stop").touch()
        for _ in range(int(TIMEOUT_SECONDS / _POLL_SECONDS)):
            if not any(unread_numbers(*pair) for pair in self.journal_pairs()):
                break
            await asyncio.sleep(_POLL_SECONDS)
        # What comes too often comes right behind.
        await asyncio.sleep(1)
        for device in self.devices:
            await device.kill()

    def journal_pairs(self) -> Iterator[tuple[list[dict[str, object]], list[dict[str, object]]]]:
        """Writer's and reader's journal, both ways."""
        one, other = (read(device.journal) for device in self.devices)
        yield from ((one, other), (other, one))

    def progress_text(self) -> str:
        """How far it is."""
        one, other = (read(device.journal) for device in self.devices)
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.kill_counts.items()))
        said, came = (sum(len(of(each)) for each in (one, other)) for of in (_kept, read_numbers))
        return f"{killed}; {said:,} messages said, {came:,} read"


def _kept(lines: list[dict[str, object]]) -> list[int]:
    return values_of(lines, "kept")


async def sign_up(node: AllInOneProcess, folder: Path) -> UUID:
    """A new account in this folder; answers whose."""
    number = f"+49151{secrets.randbelow(10**8):08d}"

    async def code() -> str:
        sent = [json.loads(line) for line in node.otp_file.read_text(encoding="utf-8").splitlines()]
        return str([line["otp"] for line in sent if line["phoneNumber"] == number][-1])

    async with Client.open(Profile(folder, node.url)) as client:
        return await client.register(number, code)


async def run(folder: Path, kills: int, seed: int, say: Callable[[str], object] = print) -> list[str]:
    """The whole loop; answers what was wrong."""
    with AllInOneProcess() as node:
        devices = [DeviceProcess(folder / name) for name in ("ann", "bo")]
        ids = [await sign_up(node, device.folder) for device in devices]
        async with Client.open(Profile(devices[1].folder, node.url)) as bo:
            await bo.friends.request(ids[0])
        async with Client.open(Profile(devices[0].folder, node.url)) as ann:
            await ann.friends.accept(ids[1])
            conversations = [await ann.direct(ids[1]), await ann.groups.create(ids[1:], "the loop")]
            await ann.sent()
        loop = KillRun(node, devices, conversations, kills, random.Random(seed))
        ended: list[str] = []
        try:
            await loop.kill_all_kinds()
            await loop.wait_until_all_read()
        except* DeviceEnded as found:
            ended = [str(each) for each in found.exceptions]
        say(f"{loop.kill_counts.total()} kills: {loop.progress_text()}")
        return [*ended, *(fault for pair in loop.journal_pairs() for fault in find_faults(*pair))]


def main() -> int:
    """Read the command line, run, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="the same moments again, as far as processes allow")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vyry-kill-loop-") as folder:
        wrong = asyncio.run(run(Path(folder), arguments.kills, seed))
    print(*(wrong or ["nothing lost, doubled or out of order; every chain held"]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
