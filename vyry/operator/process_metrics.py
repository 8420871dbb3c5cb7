"""What the processes of a host report on their operator's listeners, as rates between two scrapes."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from vyry.kernel.http_bodies import read_at_most
from vyry.telemetry import VERBS


#: How many ports from VYRY_ADMIN_PORT on are asked: each process of a host has the next free one.
PORTS: Final = 16
TIMEOUT_SECONDS: Final = 2.0
_BODY_LIMIT: Final = 8 << 20
_SOCKETS: Final = "vyry_sockets"
_REQUESTS: Final = "vyry_request_seconds_count"
_ERRORS: Final = "vyry_request_errors_total"
_LAG: Final = ("vyry_event_loop_lag_seconds_sum", "vyry_event_loop_lag_seconds_count")
_CPU: Final = "process_cpu_seconds_total"
_WANTED: Final = (*(f"vyry_{verb}_total" for verb in VERBS), _SOCKETS, _REQUESTS, _ERRORS, *_LAG, _CPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRates:
    """One process, since its scrape before; at the first scrape all rates are 0."""

    url: str
    sockets: int
    #: Envelopes per second.
    verbs: Mapping[str, float]
    requests: float
    errors: float
    #: The mean lateness of the event loop.
    lag_seconds: float
    #: The share of one core.
    cpu: float


@dataclass(slots=True)
class ProcessMetrics:
    """Scrapes the listeners at these URLs; those that do not answer are left out."""

    urls: Sequence[str]
    token: str = ""
    _before: dict[str, tuple[float, dict[str, float]]] = field(default_factory=dict)

    async def read(self) -> list[ProcessRates]:
        """The processes that answer within two seconds, in the order of their URLs."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
            texts = await asyncio.gather(*(_fetch(http, url) for url in self.urls))
        return [self._rates(url, _parse(text)) for url, text in zip(self.urls, texts, strict=True) if _SOCKETS in text]

    def _rates(self, url: str, now: dict[str, float]) -> ProcessRates:
        moment = time.monotonic()
        earlier, before = self._before.get(url, (moment, now))
        self._before[url] = moment, now
        seconds = moment - earlier

        def grown(name: str) -> float:
            # A process that has started anew counts from 0.
            return max(0.0, now.get(name, 0.0) - before.get(name, 0.0))

        def rate(name: str) -> float:
            return grown(name) / seconds if seconds else 0.0

        return ProcessRates(
            url=url,
            sockets=round(now[_SOCKETS]),
            verbs={verb: rate(f"vyry_{verb}_total") for verb in VERBS},
            requests=rate(_REQUESTS),
            errors=rate(_ERRORS),
            lag_seconds=grown(_LAG[0]) / max(1.0, grown(_LAG[1])),
            cpu=rate(_CPU),
        )


def host_urls(host: str, port: int) -> list[str]:
    """The listeners that processes with these settings may have on this machine."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared only
    shown = f"[{own}]" if ":" in own else own
    return [f"http://{shown}:{each}" for each in range(port, min(port + PORTS, 65536))]


async def _fetch(http: aiohttp.ClientSession, url: str) -> str:
    """The metrics of one process; empty when there is none, or it is no process of Vyry."""
    try:
        async with http.get(f"{url}/metrics", allow_redirects=False) as answer:
            body = await read_at_most(answer.content, _BODY_LIMIT)
            return body.decode(errors="replace") if answer.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError):
        return ""


def _parse(text: str) -> dict[str, float]:
    """The sum of each wanted metric over its labels."""
    found: dict[str, float] = {}
    for name, value in _samples(line for line in text.splitlines() if line.startswith(_WANTED)):
        found[name] = found.get(name, 0.0) + value
    return {_SOCKETS: 0.0} | found


def _samples(lines: Iterable[str]) -> Iterable[tuple[str, float]]:
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from ((sample.name, sample.value) for sample in family.samples)
