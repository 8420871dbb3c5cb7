"""Whether the time of an answer tells if a number has an account: POST /auth/request-otp for known and unknown numbers in turn, compared by Welch's t.

    python -m bench.enumeration_timing [PAIRS]

Nothing is told by |t| < 4.5. It is a measurement, printed and never a test: tests/integration/test_number_enumeration.py proves that both take the very
same statements, on both databases.
"""

import asyncio
import math
import secrets
import statistics
import sys
import time

import aiohttp

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import NodeClient


PAIRS = 2000
_ACCOUNT_COUNT = 40


async def measure(node: NodeClient, pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of known and of unknown numbers, asked for in random order."""
    numbers = [(await node.sign_up(with_keys=False)).number for _ in range(_ACCOUNT_COUNT)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for kind in (0, 1) if secrets.randbelow(2) else (1, 0):
            number = secrets.choice(numbers) if kind == 0 else f"+49160{secrets.randbelow(10**8):08d}"
            started = time.perf_counter()
            await node.call("POST", "/auth/request-otp", {"phoneNumber": number})
            times[kind].append((time.perf_counter() - started) * 1000)
    return times


def welch(one: list[float], other: list[float]) -> float:
    """Welch's t of two samples, each without its slowest hundredth (the machine's own pauses)."""
    one, other = (sorted(some)[: len(some) * 99 // 100] for some in (one, other))
    error = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(error)


async def _main(pairs: int) -> None:
    with AllInOneProcess() as alone:
        async with aiohttp.ClientSession() as http:
            known, unknown = await measure(NodeClient(http, alone.url, alone.otp_file), pairs)
    for name, some in (("known", known), ("unknown", unknown)):
        print(f"{name:8} n={len(some)} mean {statistics.fmean(some):.3f} ms, median {statistics.median(some):.3f} ms")
    print(f"Welch's t = {welch(known, unknown):+.2f} (nothing is told by |t| < 4.5)")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS))
