"""The load: senders and receivers, driven closed-loop (so many posts in flight) or open-loop (so many posts a second), on any server with a `Client`.

A post is done when its sender was told `accepted` and its receiver has it; its latency is the time from the moment it was due to its delivery. Envelopes
that come twice or that nobody posted, refusals and posts that never end are faults, and a run with a fault counts for nothing.
"""

import asyncio
import itertools
import secrets
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


CONTENT_BYTES = 1024
SETTLE_SECONDS = 60.0


class LoadError(Exception):
    """The server under load broke a promise."""


@dataclass(frozen=True, slots=True)
class Member:
    """One signed-up device and the node it connects to."""

    url: str
    token: str
    user_id: str
    device_id: int = 1
    registration_id: int = 1
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """Who posts to whom."""

    sender: Member
    receiver: Member
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run measured. `envelopes` counts warm-up too (for costs per envelope); `rate` is that of the measured time."""

    envelopes: int
    rate: float
    latencies: list[float] = field(repr=False)

    def percentile(self, share: float) -> float:
        """The latency in seconds that `share` of the envelopes did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        """The latency in seconds that half of the envelopes did not exceed."""
        return statistics.median(self.latencies)


class Outcomes(Protocol):
    """What a client reports, once for each envelope."""

    def accepted(self, message_id: str) -> None:
        """The server has answered the sender that it keeps the envelope."""
        ...

    def delivered(self, message_id: str) -> None:
        """The receiver has the envelope."""
        ...

    def failed(self, fault: Exception) -> None:
        """The server broke a promise."""
        ...


class Client(Protocol):
    """The devices of all pairs, in the protocol of one server."""

    async def connect(self, *, receivers: bool) -> None:
        """Connect the clients that are not connected yet; the receivers only if wanted."""
        ...

    def post(self, pair: Pair, message_id: str) -> None:
        """Post an envelope of CONTENT_BYTES; its fate is reported to the outcomes."""
        ...

    async def disconnect(self) -> None:
        """Leave, with everything acknowledged that was read."""
        ...


class Tally:
    """The envelopes under way, and what became of the others."""

    def __init__(self) -> None:
        self.done = 0
        self.latencies: list[float] = []
        self.on_done: Callable[[], None] = _ignore
        self.on_accepted: Callable[[], None] = _ignore
        self._prefix = f"{secrets.token_hex(4)}-0000-4000-8000-"
        self._numbers = itertools.count(1)
        #: When it was due, and how many of the two reports are missing.
        self._pending: dict[str, list[float]] = {}
        self._fault: Exception | None = None
        self._loop = asyncio.get_running_loop()

    def begin(self, due: float) -> str:
        """The id of an envelope that is posted now and was due then."""
        message_id = f"{self._prefix}{next(self._numbers):012x}"
        self._pending[message_id] = [due, 2]
        return message_id

    def accepted(self, message_id: str) -> None:
        self._report(message_id)
        self.on_accepted()

    def delivered(self, message_id: str) -> None:
        if (pending := self._pending.get(message_id)) is not None:
            self.latencies.append(self._loop.time() - pending[0])
        self._report(message_id)

    def failed(self, fault: Exception) -> None:
        self._fault = self._fault or fault

    @contextmanager
    def measured(self, on_done: Callable[[], None]) -> Iterator[None]:
        """Count from 0, and call this for each envelope that is done."""
        self.on_done, self.done = on_done, 0
        self.latencies.clear()
        yield
        self.on_done = _ignore

    async def settle(self) -> None:
        """Wait until no envelope is under way. Raises the first fault."""
        deadline = self._loop.time() + SETTLE_SECONDS
        while self._pending and self._fault is None:
            if self._loop.time() > deadline:
                raise LoadError(f"{len(self._pending)} posts never ended")
            await asyncio.sleep(0.005)
        if self._fault is not None:
            raise self._fault

    def _report(self, message_id: str) -> None:
        pending = self._pending.get(message_id)
        if pending is None:
            return self.failed(LoadError(f"{message_id} was not posted, or came twice"))
        pending[1] -= 1
        if pending[1] == 0:
            del self._pending[message_id]
            self.done += 1
            self.on_done()
        return None


class Load:
    """All pairs of one run against one server."""

    def __init__(self, pairs: Sequence[Pair], make_client: Callable[[Outcomes], Client]) -> None:
        self.pairs = pairs
        self._tally = Tally()
        self._client = make_client(self._tally)
        self._loop = asyncio.get_running_loop()

    async def connect(self, *, receivers: bool = True) -> None:
        """Connect all devices, or the senders only."""
        await self._client.connect(receivers=receivers)

    async def connect_receivers(self) -> None:
        """Connect all devices and wait until everything that was posted has been read."""
        await self._client.connect(receivers=True)
        await self._tally.settle()

    async def disconnect(self) -> None:
        """Close all connections."""
        await self._client.disconnect()

    async def run_closed_loop(self, in_flight: int, seconds: float, warm_up: float = 1.0) -> Figures:
        """Keep `in_flight` posts under way for that long."""
        turns, tally = itertools.cycle(self.pairs), self._tally
        ends = self._loop.time() + warm_up + seconds

        def again() -> None:
            if (now := self._loop.time()) < ends:
                self._post(next(turns), now)

        with tally.measured(again):
            for _ in range(in_flight):
                again()
            await asyncio.sleep(warm_up)
            before, began = tally.done, self._loop.time()
            tally.latencies.clear()
            await asyncio.sleep(ends - self._loop.time())
            rate = (tally.done - before) / (self._loop.time() - began)
            latencies = list(tally.latencies)
            await tally.settle()
        return Figures(tally.done, rate, latencies)

    async def run_open_loop(self, rate: int, seconds: float) -> Figures:
        """Post `rate` envelopes a second without waiting for their answers; latency counts from the time at which a post was due."""
        turns = itertools.cycle(self.pairs)
        with self._tally.measured(_ignore):
            began = self._loop.time()
            for number in range(int(rate * seconds)):
                due = began + number / rate
                if (wait := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                self._post(next(turns), due)
            await self._tally.settle()
            took = self._loop.time() - began
        return Figures(self._tally.done, self._tally.done / took, list(self._tally.latencies))

    async def post_to_offline(self, envelopes: int, in_flight: int = 160) -> float:
        """Post that many to receivers who are away; answers the posts a second."""
        turns = itertools.islice(itertools.cycle(self.pairs), envelopes)
        finished = asyncio.Event()
        remaining = envelopes

        def accepted() -> None:
            nonlocal remaining
            remaining -= 1
            if (pair := next(turns, None)) is not None:
                self._post(pair, self._loop.time())
            elif remaining == 0:
                finished.set()

        self._tally.on_accepted = accepted
        began = self._loop.time()
        for pair in list(itertools.islice(turns, in_flight)):
            self._post(pair, began)
        async with asyncio.timeout(120):
            await finished.wait()
        self._tally.on_accepted = _ignore
        return envelopes / (self._loop.time() - began)

    def _post(self, pair: Pair, due: float) -> None:
        self._client.post(pair, self._tally.begin(due))


def _ignore() -> None:
    """Nothing is to be done."""
