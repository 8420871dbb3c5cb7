"""`python -m tests.hostile_node.random_runs --seed N --runs N [--jobs N]`: random mixtures of lies and honest traffic against the SDK, on a node in this process.

Run number k has the seed N + k: each that failed is told with the command that plays it again.
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest.mock import patch

import structlog

from tests.hostile_node.client_task import newest_code
from tests.hostile_node.random_run import HonestPeer, Outcome, Plan, fast_folder, run_scenario
from tests.support.databases import migrate
from tests.support.node_server import NodeBackends, NodeServer, open_node_server
from tests.support.rest_device import unused_number
from vyry.client.api.client import Client, Profile
from vyry.client.crypto import prekey_publisher as publishing


#: So many runs share a node and Bo: both grow with each.
BATCH: Final = 100
#: So many prekeys are made for each Ann: enough that none has to be added.
PREKEYS: Final = 24


@dataclass
class RunTotals:
    """What many runs came to."""

    runs: int = 0
    seconds: float = 0.0
    failed: list[Outcome] = field(default_factory=list)
    lies: Counter[str] = field(default_factory=Counter)
    event_counts: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.runs += 1
        self.lies.update(outcome.log_lines)
        self.event_counts.update(outcome.event_names)
        if outcome.failures:
            self.failed.append(outcome)

    def merge(self, other: "RunTotals") -> None:
        """What another process has done meanwhile."""
        self.runs, self.seconds = self.runs + other.runs, self.seconds + other.seconds
        self.failed += other.failed
        self.lies.update(other.lies)
        self.event_counts.update(other.event_counts)

    def summary(self) -> str:
        """For people."""
        lines = [f"{self.runs} runs, {len(self.failed)} failed, {1000 * self.seconds / max(1, self.runs):.0f} ms each"]
        lines += [f"lies seen: {_counts(self.lies)}", f"told: {_counts(self.event_counts)}"]
        return "\n".join([*lines, *map(_failure_text, self.failed)])


async def run_many(seed: int, runs: int, *, is_honest: bool = False, seconds: float = 0.0) -> RunTotals:
    """So many runs, or as many as fit into these seconds."""
    total, began = RunTotals(), time.monotonic()
    with patch.object(publishing, "PREKEYS_PER_SET", PREKEYS):
        for first in range(seed, seed + runs, BATCH):
            async with _open_world() as (bo, url, otp_file):
                for each in range(first, min(first + BATCH, seed + runs)):
                    total.add(await run_scenario(Plan.draw(each, is_honest=is_honest), bo, url, otp_file))
                    total.seconds = time.monotonic() - began
                    if seconds and total.seconds > seconds:
                        return total
    return total


@asynccontextmanager
async def _open_world() -> AsyncIterator[tuple[HonestPeer, str, Path]]:
    """A node of its own, and Bo."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
        folder = Path(name)
        await asyncio.to_thread(migrate, f"sqlite://{folder}/vyry.db")
        async with open_node_server(NodeBackends(f"sqlite://{folder}/vyry.db", None, folder)) as house:
            url, otp_file, number = house.node.url, house.node.otp_file, unused_number()
            telling = asyncio.create_task(_deliver_notices(house))

            async def code() -> str:
                return newest_code(otp_file, number)

            async with Client.open(Profile(folder / "bo", url, bytes(32))) as client:
                await client.register(number, code)
                bo = HonestPeer(client)
                bo.listener.open(client)
                yield bo, url, otp_file
                await bo.listener.close()
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


async def _deliver_notices(house: NodeServer) -> None:
    """The chore of a worker by which the node's own notices come; sooner than there, for runs are short."""
    while True:
        await house.services.notice_poster.post_pending()
        await asyncio.sleep(0.02)


def _failure_text(failed: Outcome) -> str:
    """What was wrong with a run, and how it is had again."""
    lines = [
        "",
        f"seed {failed.plan.seed}: {' | '.join(failed.plan.steps)}",
        *(f"  {line}" for line in failed.failures),
    ]
    return "\n".join([*lines, f"  again: python -m tests.hostile_node.random_runs --seed {failed.plan.seed} --runs 1"])


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items())) or "nothing"


def _batch(seed: int, runs: int, is_honest: bool) -> RunTotals:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asyncio.run(run_many(seed, runs, is_honest=is_honest))


def _run_batches(asked: argparse.Namespace) -> RunTotals:
    """All batches, so many at a time; it is told how far they are."""
    total, end = RunTotals(), asked.seed + asked.runs
    firsts = range(asked.seed, end, BATCH)
    with ProcessPoolExecutor(asked.jobs) as pool:
        batches = [pool.submit(_batch, first, min(BATCH, end - first), asked.honest) for first in firsts]
        for batch in as_completed(batches):
            done = batch.result()
            total.merge(done)
            for failed in done.failed:
                print(_failure_text(failed), file=sys.stderr, flush=True)
            print(f"{total.runs} runs, {len(total.failed)} failed", file=sys.stderr, flush=True)
    return total


def main() -> int:
    """0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile_node.random_runs", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="where the seeds begin")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at a time")
    parser.add_argument("--honest", action="store_true", help="without any lie: no run may be told an alarm")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    total = _run_batches(asked)
    print(total.summary())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
