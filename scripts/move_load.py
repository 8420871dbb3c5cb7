"""The load of `scripts.move_loop`: devices with a socket each post to each other at a given rate, and keep a history for the checker.

A device has one post under way at a time and repeats it under the same id until a node has answered, so the order of its accepted posts is known.
The sockets are those of bench/wire.py, because the load shares two cores with the cluster; the checkers are those of the tests and know no server code.
"""

import asyncio
import itertools
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from bench.load import Member
from bench.wire import Frame, Socket
from tests.support.chain_checker import BrokenChain, ChainChecker
from tests.support.history_checker import Attempt, ConnectionStart, Delivery, History, Outcome, read_delivery


CONTENT_BYTES = 300
ACKNOWLEDGE_SECONDS = 0.1
#: A node answers within 5 s or not at all.
ANSWER_SECONDS = 8.0
RETRY_SECONDS = 0.2
#: A device that fell behind its rate makes up for this much, and no more.
CATCH_UP_SECONDS = 2.0
LAG_SECONDS = 0.02
_UNDECIDED = {"UNAVAILABLE", "INTERNAL_ERROR"}
_connections = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Peer:
    """A device to post to."""

    member: Member
    conversation_id: str


@dataclass(slots=True)
class Records:
    """What all devices did and saw. Times of the history are those of the wall clock, which the database on this machine shares."""

    history: History = field(default_factory=History)
    #: By device: when a connection was welcomed, and when it ended.
    sockets: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    #: What must not happen, apart from what the checker finds.
    faults: list[str] = field(default_factory=list)
    accepted: int = 0
    #: (time, lateness) of the latest deliveries, measured from the answer to the sender.
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20_000))
    #: (time, seconds) of moments in which this process itself stood still: what it measures then is its own lateness.
    pauses: list[tuple[float, float]] = field(default_factory=list)


class Mailbox:
    """A device's place in its mailbox."""

    def __init__(self) -> None:
        self.chain: ChainChecker | None = None
        self.acknowledged = 0

    def point(self) -> dict[str, object]:
        """The resume point of a hello."""
        seq = self.chain.seq if self.chain else 0
        return {"after": seq, "head": self.chain.head if self.chain and seq else None}


class LoadDevice:
    """One device: it holds a socket, at the next node whenever it was lost, and posts to its peers in turn."""

    def __init__(self, member: Member, urls: Sequence[str], load: "Load") -> None:
        self.member = member
        self.name = f"{member.user_id}.{member.device_id}"
        self.peers: list[Peer] = []
        self._urls = itertools.cycle(urls)
        self._load = load
        self._mailbox = Mailbox()
        self._socket: Socket | None = None
        self._connection = 0
        self._welcomed = asyncio.Event()
        self._answer: asyncio.Future[Frame] | None = None
        load.records.sockets[self.name] = []

    async def listen(self) -> None:
        """Hold a socket until cancelled."""
        while True:
            try:
                self._socket = await Socket.open(next(self._urls), self.member.token, "msgpack", self._on_frame)
                await self._hold(self._socket)
            except (OSError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _hold(self, socket: Socket) -> None:
        point = self._mailbox.point()
        self._connection = next(_connections)
        started = ConnectionStart(
            device=self.name, connection=self._connection, after=int(str(point["after"])), at=time.time()
        )
        self._load.records.history.connections.append(started)
        client = {"name": "move loop", "version": "1"}
        socket.send({"type": "hello", "id": "hello", "payload": {**point, "client": client}})
        self._mailbox.acknowledged = int(str(point["after"]))
        try:
            while not socket.closed.done():
                await asyncio.wait([socket.closed], timeout=ACKNOWLEDGE_SECONDS)
                self._acknowledge(socket)
        finally:
            socket.close()
            if self._welcomed.is_set():
                sockets = self._load.records.sockets[self.name]
                sockets[-1] = (sockets[-1][0], time.time())
            self._welcomed.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ConnectionError("the socket has ended"))

    def _acknowledge(self, socket: Socket) -> None:
        chain = self._mailbox.chain
        if chain is not None and chain.seq > self._mailbox.acknowledged:
            self._mailbox.acknowledged = chain.seq
            payload: dict[str, object] = {"seq": chain.seq, "head": chain.head}
            socket.send({"type": "acknowledge", "id": str(chain.seq), "payload": payload})

    async def post_continuously(self, first: float, interval: float) -> None:
        """Post every `interval` seconds from the moment `first` on until the load stops."""
        due = first
        for number, peer in enumerate(itertools.cycle(self.peers)):
            due = max(due, time.monotonic() - CATCH_UP_SECONDS)
            if await self._load.stops_within(due - time.monotonic()):
                return
            due += interval
            await self._post_until_decided(peer, number)

    async def _post_until_decided(self, peer: Peer, number: int) -> None:
        content = f"{self.name} {number}".encode().ljust(CONTENT_BYTES, b".")
        device = {
            "deviceId": peer.member.device_id,
            "registrationId": peer.member.registration_id,
            "content": content,
        }
        recipient = {"userId": peer.member.user_id, "epoch": peer.member.epoch, "devices": [device]}
        message_id = str(uuid.uuid4())
        body: Frame = {"messageId": message_id, "conversationId": peer.conversation_id, "recipients": [recipient]}
        while True:
            await self._welcomed.wait()
            started = time.time()
            answer = await self._attempt(message_id, body)
            attempt = self._to_attempt(message_id, content, peer, started, answer)
            self._load.record_attempt(attempt)
            if attempt.outcome is Outcome.OK:
                return
            if attempt.outcome is Outcome.REFUSED:
                self._load.records.faults.append(f"a post was refused: {answer}")
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _attempt(self, message_id: str, body: dict[str, object]) -> dict[str, Any] | None:
        """The payload of the answer; None when there is none."""
        socket = self._socket
        if socket is None or not self._welcomed.is_set():
            return None
        self._answer = asyncio.get_running_loop().create_future()
        socket.send({"type": "post", "id": message_id, "payload": body})
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                payload: Any = (await self._answer)["payload"]
                return dict(payload)
        return None

    def _to_attempt(
        self, message_id: str, content: bytes, peer: Peer, started: float, answer: dict[str, Any] | None
    ) -> Attempt:
        outcome = Outcome.OK
        if answer is None or answer.get("error_code") in _UNDECIDED:
            outcome = Outcome.UNCLEAR
        elif "error_code" in answer:
            outcome = Outcome.REFUSED
        is_accepted = answer is not None and outcome is Outcome.OK
        return Attempt(
            sender=self.name,
            message_id=message_id,
            body=sha256(content).hexdigest(),
            target_devices=frozenset({f"{peer.member.user_id}.{peer.member.device_id}"}),
            started_at=started,
            ended_at=time.time(),
            outcome=outcome,
            answer=(answer["acceptedAt"], answer["copies"]) if answer and is_accepted else None,
            is_repeat=bool(answer and answer.get("isRepeat")),
        )

    def _on_frame(self, socket: Socket, frame: Frame) -> None:
        payload: Any = frame["payload"]
        match frame["type"]:
            case "entries":
                self._take(payload["entries"])
            case "welcome":
                self._mailbox.chain = self._mailbox.chain or ChainChecker(payload["mailboxId"])
                self._load.records.sockets[self.name].append((time.time(), float("inf")))
                self._welcomed.set()
            case "accepted" | "refused" if self._answer is not None and not self._answer.done():
                self._answer.set_result(frame)
            case "refused":
                self._load.records.faults.append(f"{self.name}: {payload}")
                socket.close()
            case "goodbye":
                # A client that reconnects at once keeps what the drain of a node costs out of this measurement.
                socket.close()
            case _:
                pass

    def _take(self, entries: list[dict[str, Any]]) -> None:
        now, chain = time.time(), self._mailbox.chain
        assert chain is not None
        for entry in entries:
            self._load.recordread_delivery(read_delivery(self.name, self._connection, entry, now))
            try:
                chain.advance(entry)
            except BrokenChain as broken:
                self._load.records.faults.append(f"the chain of {self.name} broke: {broken}")


class Load:
    """All devices together."""

    def __init__(self) -> None:
        self.records = Records()
        self.devices: list[LoadDevice] = []
        self._is_stopping = asyncio.Event()
        #: When the senders of what nobody has received yet had their answers; and what was received before its sender had one.
        self._undelivered: dict[str, float] = {}
        self._early: set[str] = set()
        self._news = asyncio.Event()

    @property
    def undelivered(self) -> int:
        """How many accepted posts nobody has received yet."""
        return len(self._undelivered)

    async def run(self, rate: float) -> None:
        """Post so many envelopes a second until `stop`; all posts under way are decided at the end."""
        interval = len(self.devices) / rate
        first = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, device in enumerate(self.devices):
                tasks.create_task(device.post_continuously(first + number / rate, interval))

    async def watch_pauses(self) -> None:
        """Record when this process itself stood still, until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_SECONDS)
            pause = time.monotonic() - before - LAG_SECONDS
            if pause > LAG_SECONDS:
                self.records.pauses.append((time.time(), pause))

    def stop(self) -> None:
        """Have the devices begin no more posts."""
        self._is_stopping.set()

    async def stops_within(self, seconds: float) -> bool:
        """Wait so long; whether the load was asked to stop."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_stopping.wait()
        return self._is_stopping.is_set()

    async def wait_until_delivered(self, seconds: float) -> None:
        """Wait until all that was accepted has been received, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._undelivered:
                    self._news.clear()
                    await self._news.wait()

    def record_attempt(self, attempt: Attempt) -> None:
        """Keep one attempt."""
        self.records.history.attempts.append(attempt)
        if attempt.outcome is not Outcome.OK:
            return
        self.records.accepted += 1
        if attempt.message_id in self._early:
            self._early.discard(attempt.message_id)
            self.records.recent.append((attempt.ended_at, 0.0))
        else:
            self._undelivered[attempt.message_id] = attempt.ended_at

    def recordread_delivery(self, delivery: Delivery) -> None:
        """Keep one delivered entry."""
        self.records.history.deliveries.append(delivery)
        if delivery.message_id is None:
            return
        answered = self._undelivered.pop(delivery.message_id, None)
        if answered is None:
            self._early.add(delivery.message_id)
        else:
            self.records.recent.append((delivery.at, delivery.at - answered))
        if not self._undelivered:
            self._news.set()
