"""Devices that talk without pause while things break around them. They keep a history for the checker and count the trouble they met.

Each device posts one message after the other, over its socket and by REST in turn, and repeats a post whose outcome is unclear under the same id
until the node decides. Its socket comes back at the other node, after the last point it has seen, whenever it was lost.
"""

import asyncio
import functools
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import aiohttp

from tests.support.device_socket import Codec, DeviceSocket
from tests.support.history_checker import (
    Acknowledgement,
    Attempt,
    ConnectionStart,
    History,
    Outcome,
    check,
    read_delivery,
)
from tests.support.rest_device import Body, Device, NodeClient, OutcomeUnknown, RequestRefused


PAUSE_SECONDS = 0.04
#: The node decides or says 503 within 5 s; a little more is the slack of a busy machine.
ANSWER_SECONDS = 8.0
FAILURES = (OutcomeUnknown, aiohttp.ClientError, OSError, TimeoutError)
_connections = itertools.count(1)


class TrafficDevice:
    """One device of the traffic."""

    def __init__(self, device: Device, urls: Sequence[str], traffic: "Traffic") -> None:
        self.device = device
        self.peers: list[tuple[str, Device]] = []
        self.name = f"{device.user_id}.{device.device_id}"
        self.socket: DeviceSocket | None = None
        #: How long this device keeps a connection before it goes away by itself.
        self.connection_seconds = 3600.0
        self.pause_seconds = PAUSE_SECONDS
        self._lost_at: float | None = None
        self._reconnect_after = 0.0
        self._urls = itertools.cycle(urls)
        self._traffic = traffic
        self._codec: Codec = "json" if len(traffic.devices) % 2 else "msgpack"

    async def listen(self) -> None:
        """Hold a socket, at the next node whenever it was lost, until cancelled."""
        while True:
            try:
                await self._one_connection(next(self._urls))
            except FAILURES as trouble:
                self._traffic.failure_counts[f"no connection: {type(trouble).__name__}"] += 1
                await asyncio.sleep(0.2)
            finally:
                self.socket = None
                if self._lost_at is None:
                    self._lost_at = time.monotonic()
            await asyncio.sleep(self._reconnect_after)
            self._reconnect_after = 0.0

    async def _one_connection(self, url: str) -> None:
        line = await DeviceSocket.connect(self.device, url, self._codec)
        number, after = next(_connections), self.device.chain.seq if self.device.chain else 0
        begun = ConnectionStart(device=self.name, connection=number, after=after, at=time.monotonic())
        self._traffic.history.connections.append(begun)
        line.on_frame = functools.partial(self._watch, number)
        try:
            await line.resume()
            if self._lost_at is not None:
                self._traffic.away_seconds.append(time.monotonic() - self._lost_at)
                self._lost_at = None
            self.socket = line
            await line.wait_closed(self.connection_seconds)
            self._traffic.failure_counts[f"closed {line.ws.close_code}"] += 1
        except TimeoutError:
            self._traffic.failure_counts["left by itself"] += 1
        finally:
            await line.close()

    def _watch(self, connection: int, frame: Body) -> None:
        history, now = self._traffic.history, time.monotonic()
        if frame["type"] == "entries":
            entries = frame["payload"]["entries"]
            history.deliveries += [read_delivery(self.name, connection, entry, now) for entry in entries]
        elif frame["type"] == "acknowledged":
            seq = frame["payload"]["cursor"]["seq"]
            history.acknowledgements.append(Acknowledgement(device=self.name, connection=connection, seq=seq, at=now))
        elif frame["type"] == "goodbye":
            self._traffic.failure_counts["goodbye"] += 1
            self._reconnect_after = frame["payload"]["retryAfterSeconds"]
        self._traffic.notify_waiters()

    async def post_continuously(self) -> None:
        """Post to the peers in turn until the traffic is asked to stop."""
        for number, (conversation_id, peer) in enumerate(itertools.cycle(self.peers)):
            if self._traffic.is_stopping.is_set():
                return
            content = f"{self._traffic.mark} {self.name} {number}".encode().ljust(300, b".")
            body = self.device.build_post(conversation_id, [peer.user_id], content)
            await self._until_decided(body, content, peer, by_socket=number % 2 == 0)
            if number % 20 == 19:
                await self._until_decided(body, content, peer, by_socket=False)
            await asyncio.sleep(self.pause_seconds)

    async def _until_decided(self, body: Body, content: bytes, peer: Device, *, by_socket: bool) -> None:
        for tries in itertools.count():
            attempt = await self._attempt(body, content, peer, by_socket=by_socket and tries == 0)
            self._traffic.record_attempt(attempt)
            if attempt.outcome is not Outcome.UNCLEAR:
                return
            await asyncio.sleep(0.2)

    async def _attempt(self, body: Body, content: bytes, peer: Device, *, by_socket: bool) -> Attempt:
        begun = time.monotonic()
        outcome, answer, is_repeat = Outcome.UNCLEAR, None, False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                said = await self._post(body, content, by_socket=by_socket)
            outcome, is_repeat = Outcome.OK, said["isRepeat"]
            answer = (said["acceptedAt"], said["copies"])
        except RequestRefused as refusal:
            self._traffic.failure_counts[f"refused {refusal.code}"] += 1
            outcome = Outcome.REFUSED
        except FAILURES:
            pass
        return Attempt(
            sender=self.name,
            message_id=body["messageId"],
            body=sha256(content).hexdigest(),
            target_devices=frozenset({f"{peer.user_id}.{peer.device_id}"}),
            started_at=begun,
            ended_at=time.monotonic(),
            outcome=outcome,
            answer=answer,
            is_repeat=is_repeat,
        )

    async def _post(self, body: Body, content: bytes, *, by_socket: bool) -> Body:
        line = self.socket
        if not by_socket or line is None:
            return await NodeClient(self.device.node.http, next(self._urls), Path()).call(
                "POST", "/messages", body, self.device.token
            )
        if line.codec == "msgpack":
            [recipient] = body["recipients"]
            devices = [device | {"content": content} for device in recipient["devices"]]
            body = body | {"recipients": [recipient | {"devices": devices}]}
        return await line.request("post", **body)


class Traffic:
    """All talkers together."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.history = History()
        #: Trouble by kind: what proves that a fault was felt.
        self.failure_counts: Counter[str] = Counter()
        self.devices: list[TrafficDevice] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.is_stopping = asyncio.Event()
        #: How long devices were without a socket, each time.
        self.away_seconds: list[float] = []
        self.accepted = 0
        self._news = asyncio.Event()

    def notify_waiters(self) -> None:
        """Something happened: whoever waits looks again."""
        self._news.set()

    def record_attempt(self, attempt: Attempt) -> None:
        """Keep one attempt."""
        self.history.attempts.append(attempt)
        self.accepted += attempt.outcome is Outcome.OK
        self.failure_counts["unclear post"] += attempt.outcome is Outcome.UNCLEAR
        self.notify_waiters()

    async def wait_for_progress(self, count: int, seconds: float = 30) -> None:
        """Wait until that many more posts were accepted, and that many more entries delivered, than now."""
        accepted, delivered = self.accepted, len(self.history.deliveries)
        await self._until(
            lambda: self.accepted >= accepted + count and len(self.history.deliveries) >= delivered + count, seconds
        )

    async def wait_for_failure(self, kind: str, seconds: float = 20) -> None:
        """Wait until that trouble was met."""
        await self._until(
            lambda: any(name.startswith(kind) and times for name, times in self.failure_counts.items()), seconds
        )

    async def stop_and_check(self, seconds: float = 45) -> list[str]:
        """Stop posting, wait until all that was accepted has arrived (or that long), and let the checker judge."""
        self.is_stopping.set()
        await asyncio.wait(self.tasks)
        with suppress(TimeoutError):
            await self._until(lambda: not self._missing(), seconds)
        return check(self.history) + [
            kind for kind, times in self.failure_counts.items() if kind.startswith("refused") and times
        ]

    def _missing(self) -> set[tuple[str, str]]:
        accepted = {
            (device, attempt.message_id)
            for attempt in self.history.attempts
            if attempt.outcome is Outcome.OK
            for device in attempt.target_devices
        }
        return accepted - {(entry.device, entry.message_id or "") for entry in self.history.deliveries}

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def traffic(
    nodes: Sequence[NodeClient], mark: str, devices: int = 8, pause_seconds: float = PAUSE_SECONDS
) -> AsyncIterator[Traffic]:
    """Devices in a ring, each talking to the next two; every fourth goes away by itself now and then."""
    made = Traffic(mark)
    for number in range(devices):
        device = await nodes[number % len(nodes)].sign_up()
        urls = [node.url for node in nodes[number % len(nodes) :]] + [node.url for node in nodes[: number % len(nodes)]]
        made.devices.append(TrafficDevice(device, urls, made))
    for number, talker in enumerate(made.devices):
        talker.pause_seconds = pause_seconds
        talker.connection_seconds = 1.5 if number % 4 == 3 else 3600
        for step in (1, 2):
            peer = made.devices[(number + step) % devices].device
            await talker.device.fetch_device_list(peer.user_id)
            talker.peers.append((await talker.device.open_direct(peer), peer))
    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(talker.listen()) for talker in made.devices]
        made.tasks = [group.create_task(talker.post_continuously()) for talker in made.devices]
        try:
            yield made
        finally:
            made.is_stopping.set()
            # After a failed test nobody waits for the answers any more.
            for task in (*listening, *made.tasks):
                task.cancel()
