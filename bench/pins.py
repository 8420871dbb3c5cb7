"""What a crowd of PINs does to everybody else: the latency of another route on one node, alone and beside 200 PINs at once (python -m bench.pins)."""

import asyncio
import statistics
import time
from dataclasses import dataclass

import aiohttp

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import Device, NodeClient


PIN = "739251"
CROWD = 60


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one route, in milliseconds."""

    median: float
    p99: float
    count: int

    def __str__(self) -> str:
        return f"{self.count} requests, median {self.median:.1f} ms, p99 {self.p99:.1f} ms"


async def latency(device: Device, until: asyncio.Event) -> Latency:
    """Of GET /account, one after the other, until told to stop."""
    took = []
    while not until.is_set():
        began = time.perf_counter()
        await device.call("GET", "/account")
        took.append((time.perf_counter() - began) * 1000)
    return Latency(statistics.median(took), statistics.quantiles(took, n=100)[-1], len(took))


async def hash_pins_at_once(device: Device) -> float:
    """Seconds that CROWD right PINs at once take."""
    began = time.perf_counter()
    await asyncio.gather(*(device.call("POST", "/account/pin/verify", {"pin": PIN}) for _ in range(CROWD)))
    return time.perf_counter() - began


async def latency_under_load(device: Device, seconds: float | None) -> tuple[Latency, float]:
    """The latency of the other route meanwhile, and how long the meanwhile was; None: a crowd of PINs."""
    done = asyncio.Event()
    measured = asyncio.create_task(latency(device, done))
    began = time.perf_counter()
    await (hash_pins_at_once(device) if seconds is None else asyncio.sleep(seconds))
    done.set()
    return await measured, time.perf_counter() - began


async def main() -> None:
    """Measure and print."""
    with AllInOneProcess() as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            device = await NodeClient(http, server.url, server.otp_file).sign_up(with_keys=False)
            await device.call("PUT", "/account/pin", {"pin": PIN})
            quiet, _ = await latency_under_load(device, 3.0)
            busy, seconds = await latency_under_load(device, None)
    print(f"alone: {quiet}")
    print(f"beside {CROWD} PINs at once: {busy}; the PINs took {seconds:.1f} s, {CROWD / seconds:.0f}/s")


if __name__ == "__main__":
    asyncio.run(main())
