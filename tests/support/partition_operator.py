"""An operator of a running cluster: each command is a process of its own, with the settings of the cluster."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

from scripts.nodes import PROGRAM, ROOT, Cluster
from scripts.services import end_with_parent


Row = dict[str, Any]


class PartitionOperator:
    """Runs `vyry partitions`."""

    def __init__(self, cluster: Cluster) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "VYRY_DATA_DIR": str(cluster.redis.folder / "operator"),
            **cluster.environment,
        }

    async def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> list[Row]:
        """What a command prints with --json: the objects, one or many. Its exit code must be one of these."""
        process = await self._start(*words, "--json")
        out, err = await process.communicate()
        assert process.returncode in codes, (words, process.returncode, out, err)
        text = out.decode()
        return [json.loads(text)] if text.startswith("{\n") else [json.loads(line) for line in text.splitlines()]

    async def show(self) -> Row:
        """The cluster, whatever its state."""
        return (await self.run(codes=(0, 1)))[0]

    async def owners(self) -> list[str]:
        """The worker of each partition."""
        return [each["owner"] for each in (await self.show())["partitions"]]

    async def plan(self, *words: str) -> Row:
        """A plan."""
        return (await self.run("plan", *words))[0]

    async def apply(self, plan: Row, *words: str) -> list[Row]:
        """All phases of a plan until it is applied."""
        *phases, last = await self.run("apply", plan["stateId"], *words)
        assert last == {"stateId": plan["stateId"], "status": "applied"}
        return phases

    async def interrupt(self, plan: Row) -> int:
        """Apply a plan, and press Ctrl-C when the first move has settled. Returns the exit code."""
        process = await self._start("apply", plan["stateId"], "--json")
        async for phase in _lines(process):
            if phase.get("phase") == "settled":
                process.send_signal(signal.SIGINT)
                break
        await process.communicate()
        assert process.returncode is not None
        return process.returncode

    async def wait_until_ok(self, seconds: float = 40) -> Row:
        """The cluster once every partition is in a good state."""
        async with asyncio.timeout(seconds):
            while not (found := await self.show())["ok"]:
                pass
        return found

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "partitions", *words, env=self._environment, stdout=pipe, stderr=pipe
        )
        end_with_parent(process.pid)
        return process


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[Row]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield json.loads(line)
