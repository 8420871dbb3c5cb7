"""What a statement waits for: samples of PostgreSQL's own account, or the commits of the SQLite thread."""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from bench.stations.timeline import Marks


SAMPLE_SECONDS: Final = 0.004
#: The station at the end of a statement, by the name of its connection.
STATEMENTS: Final = {"vyry-post": "committed", "vyry-deposit": "deposited", "vyry-acknowledge": "acknowledge ends"}
_SAMPLE: Final = """
    SELECT application_name, coalesce(wait_event ILIKE '%wal%' OR wait_event = 'SyncRep', false) FROM pg_stat_activity
    WHERE state = 'active' AND application_name = ANY($1)"""


@asynccontextmanager
async def sampled_commit_shares(url: str) -> AsyncIterator[dict[str, float]]:
    """Sample the backends until the block ends; then the result has, by station, the share of the statement that waited for the log."""
    shares: dict[str, float] = {}
    counts: Counter[tuple[str, bool]] = Counter()
    connection = await asyncpg.connect(url)

    async def sample() -> None:
        while True:
            counts.update((name, waits) for name, waits in await connection.fetch(_SAMPLE, list(STATEMENTS)))
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield shares
    finally:
        task.cancel()
        await asyncio.wait([task])
        await connection.close()
    for name, station in STATEMENTS.items():
        both = counts[name, True] + counts[name, False]
        shares[station] = counts[name, True] / both if both else 0.0


def sqlite_commit_share(marks: Marks, since: float, until: float) -> float:
    """The share of the time of batches that was their commit, in this span."""
    begins, commits, ends = (
        _within(marks, name, since, until) for name in ("batch begins", "commit begins", "batch ends")
    )
    committing = working = 0.0
    for end in ends:
        at, last = bisect_right(begins, end) - 1, bisect_right(commits, end) - 1
        if at >= 0 and last >= 0 and commits[last] >= begins[at]:
            committing += end - commits[last]
            working += end - begins[at]
    return committing / working if working else 0.0


def _within(marks: Marks, station: str, since: float, until: float) -> Sequence[float]:
    """The marks of the thread that writes: of all threads it works in the most batches."""
    by_thread = marks.found["batch begins"]
    if not by_thread:
        return []
    writer = max(by_thread, key=lambda thread: len(by_thread[thread]))
    return [moment for moment in marks.found[station].get(writer, []) if since <= moment <= until]
