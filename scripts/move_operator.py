"""The operator of `scripts.move_loop`: the commands `vyry partitions plan` and `apply`, each a process of its own, as an operator runs them."""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any

from scripts.nodes import PROGRAM, ROOT, Cluster
from scripts.services import end_with_parent


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A plan that moves partitions; of the first of them the worker that has it and the one that gets it."""

    state_id: str
    source: str | None
    destination: str


class Operator:
    """Runs commands with the settings of the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "VYRY_ENV": "development",
            "VYRY_DATA_DIR": str(cluster.redis.folder / "operator"),
            **cluster.environment,
        }

    async def plan(self, *arguments: str) -> PlannedMove | None:
        """The plan of `vyry partitions plan ARGUMENTS`; None if it was refused or moves nothing."""
        process = await self._start("plan", *arguments, "--json")
        output, _ = await process.communicate()
        if process.returncode != 0:
            return None
        plan: dict[str, Any] = json.loads(output)
        if not plan["moves"]:
            return None
        return PlannedMove(plan["stateId"], plan["moves"][0]["from"], plan["moves"][0]["to"])

    async def apply(self, planned: PlannedMove, announced: asyncio.Event) -> bool:
        """Apply the plan; sets `announced` when the first move is. Returns whether all of it was applied."""
        process = await self._start("apply", planned.state_id, "--at-once", "--json")
        assert process.stdout is not None
        try:
            async for _ in process.stdout:
                announced.set()
            return await process.wait() == 0
        finally:
            announced.set()

    async def abort(self) -> None:
        """End a plan that could not be applied."""
        await (await self._start("abort", "--json")).communicate()

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "partitions",
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=None,
        )
        end_with_parent(process.pid)
        return process
