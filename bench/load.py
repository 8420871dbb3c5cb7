"""The load: pairs of devices, a sender and a receiver each, driven closed-loop (so many posts in flight) or open-loop (so many posts a second).

A post is done when its sender was told `accepted` and its receiver got the entry; the time from post to delivery is its latency. Numbers that
are not contiguous, envelopes nobody posted, refusals and posts that never end are faults, and a run with a fault counts for nothing.
"""

import asyncio
import base64
import itertools
import secrets
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from bench.wire import Codec, Frame, Socket


ACKNOWLEDGE_EVERY_SECONDS = 0.1
ACKNOWLEDGE_AFTER_ENTRIES = 128


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


class MailboxReader:
    """One device's place in its own mailbox."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.seq = 0
        self.head: object = None
        self.acknowledged = 0
        self.socket: Socket | None = None
        self.drained = asyncio.Event()

    def advance(self, entries: list[dict[str, Any]]) -> None:
        """Move on over these entries. Raises LoadFault when a number is missing or comes twice."""
        for entry in entries:
            if entry["seq"] != self.seq + 1:
                raise LoadError(f"{self.member.user_id}: got {entry['seq']} after {self.seq}")
            self.seq, self.head = entry["seq"], entry["head"]
        if self.seq - self.acknowledged >= ACKNOWLEDGE_AFTER_ENTRIES:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the node how far this device has read, if that is news."""
        if self.socket is not None and self.seq > self.acknowledged:
            self.acknowledged = self.seq
            self.socket.send(
                {"type": "acknowledge", "id": str(self.seq), "payload": {"seq": self.seq, "head": self.head}}
            )


class Load:
    """All pairs of one run against one server."""

    def __init__(self, pairs: list[Pair], codec: Codec = "msgpack", size: int = 1024) -> None:
        self.pairs = pairs
        self._codec = codec
        content = secrets.token_bytes(size)
        self._content = content if codec == "msgpack" else base64.b64encode(content).decode()
        self._readers = {
            member.user_id: MailboxReader(member) for pair in pairs for member in (pair.sender, pair.receiver)
        }
        self._by_socket: dict[Socket, MailboxReader] = {}
        self._prefix = f"{secrets.token_hex(4)}-0000-4000-8000-"
        self._numbers = itertools.count(1)
        self._pending: dict[str, list[float]] = {}
        self._latencies: list[float] = []
        self._done = 0
        self._fault: Exception | None = None
        self._on_done: Callable[[], None] = lambda: None
        self._on_accepted: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._ticker: asyncio.TimerHandle | None = None

    async def connect(self, *, receivers: bool = True) -> None:
        """Open the sockets (of the receivers only if wanted) and wait until what was waiting has come."""
        senders = {pair.sender.user_id for pair in self.pairs}
        wanted = [reader for reader in self._readers.values() if receivers or reader.member.user_id in senders]
        for reader in wanted:
            await self._open(reader)
        await asyncio.gather(*(reader.drained.wait() for reader in wanted))
        self._tick()

    async def connect_receivers(self) -> None:
        """Open the sockets that are not open yet and wait until everything that was posted has been read."""
        await asyncio.gather(*(self._open(reader) for reader in self._readers.values() if reader.socket is None))
        await self._settle(60)

    def disconnect(self, *, receivers_only: bool = False) -> None:
        """Close the sockets."""
        receivers = {pair.receiver.user_id for pair in self.pairs}
        for reader in self._readers.values():
            if reader.socket is not None and (not receivers_only or reader.member.user_id in receivers):
                reader.acknowledge()
                self._loop.call_later(0.2, reader.socket.close)
                del self._by_socket[reader.socket]
                reader.socket = None
        if not receivers_only and self._ticker is not None:
            self._ticker.cancel()

    async def run_closed_loop(self, in_flight: int, seconds: float, warm_up: float = 1.0) -> Figures:
        """Keep `in_flight` posts under way for that long."""
        turns = itertools.cycle(self.pairs)
        ends = self._loop.time() + warm_up + seconds

        def again() -> None:
            if self._loop.time() < ends:
                self._post(next(turns))

        with self._measured(again):
            for _ in range(in_flight):
                again()
            await asyncio.sleep(warm_up)
            before, began = self._done, self._loop.time()
            self._latencies.clear()
            await asyncio.sleep(ends - self._loop.time())
            rate = (self._done - before) / (self._loop.time() - began)
            latencies = list(self._latencies)
            await self._settle(30)
        return Figures(self._done, rate, latencies)

    async def run_open_loop(self, rate: int, seconds: float) -> Figures:
        """Post `rate` envelopes a second, whatever becomes of them."""
        turns = itertools.cycle(self.pairs)
        with self._measured(lambda: None):
            began = self._loop.time()
            for number in range(int(rate * seconds)):
                wait = began + number / rate - self._loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                self._post(next(turns))
            await self._settle(30)
            took = self._loop.time() - began
        return Figures(self._done, self._done / took, list(self._latencies))

    async def post_to_offline(self, envelopes: int, in_flight: int = 160) -> float:
        """Post that many to receivers who are away; answers the posts a second."""
        turns = itertools.islice(itertools.cycle(self.pairs), envelopes)
        finished = asyncio.Event()
        remaining = envelopes

        def accepted() -> None:
            nonlocal remaining
            remaining -= 1
            if (pair := next(turns, None)) is not None:
                self._post(pair)
            elif remaining == 0:
                finished.set()

        self._on_accepted = accepted
        began = self._loop.time()
        for pair in itertools.islice(turns, in_flight):
            self._post(pair)
        async with asyncio.timeout(120):
            await finished.wait()
        self._on_accepted = lambda: None
        return envelopes / (self._loop.time() - began)

    async def _open(self, reader: MailboxReader) -> None:
        member = reader.member
        reader.drained.clear()
        reader.socket = await Socket.open(member.url, member.token, self._codec, self._on_frame)
        self._by_socket[reader.socket] = reader
        client = {"name": "bench", "version": "1"}
        payload = {"after": reader.seq, "head": reader.head if reader.seq else None, "client": client}
        reader.socket.send({"type": "hello", "id": "hello", "payload": payload})

    def _post(self, pair: Pair) -> None:
        sender = self._readers[pair.sender.user_id].socket
        assert sender is not None
        message_id = f"{self._prefix}{next(self._numbers):012x}"
        receiver = pair.receiver
        device = {"deviceId": receiver.device_id, "registrationId": receiver.registration_id, "content": self._content}
        recipient = {"userId": receiver.user_id, "epoch": receiver.epoch, "devices": [device]}
        post = {"messageId": message_id, "conversationId": pair.conversation_id, "recipients": [recipient]}
        self._pending[message_id] = [self._loop.time(), 2]
        sender.send({"type": "post", "id": message_id, "payload": post})

    def _on_frame(self, socket: Socket, frame: Frame) -> None:
        try:
            self._take(socket, frame)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the run is void and says so
            self._fault = self._fault or fault

    def _take(self, socket: Socket, frame: Frame) -> None:
        payload = cast("dict[str, Any]", frame.get("payload"))
        match frame["type"]:
            case "entries":
                now = self._loop.time()
                self._by_socket[socket].advance(payload["entries"])
                for entry in payload["entries"]:
                    self._latencies.append(now - self._pending[entry["messageId"]][0])
                    self._half(entry["messageId"])
            case "accepted":
                self._half(cast("str", frame["ref"]))
                self._on_accepted()
            case "drained":
                self._by_socket[socket].drained.set()
            case "refused" | "goodbye":
                raise LoadError(f"{frame}")
            case _:
                pass

    def _half(self, message_id: str) -> None:
        halves = self._pending[message_id]
        halves[1] -= 1
        if halves[1] == 0:
            del self._pending[message_id]
            self._done += 1
            self._on_done()

    @contextmanager
    def _measured(self, on_done: Callable[[], None]) -> Iterator[None]:
        self._on_done, self._done = on_done, 0
        self._latencies.clear()
        yield
        self._on_done = lambda: None

    async def _settle(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while self._pending and self._fault is None:
            if self._loop.time() > deadline:
                raise LoadError(f"{len(self._pending)} posts never ended")
            await asyncio.sleep(0.005)
        if self._fault is not None:
            raise self._fault

    def _tick(self) -> None:
        for reader in self._readers.values():
            reader.acknowledge()
        self._ticker = self._loop.call_later(ACKNOWLEDGE_EVERY_SECONDS, self._tick)
