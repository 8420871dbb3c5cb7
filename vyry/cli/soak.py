"""`vyry soak`: real clients send under load and count lost, duplicated and disordered messages. Fault tests run it while they break services."""

import asyncio
import itertools
import signal
import tempfile
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from cyclopts import Parameter, validators

from vyry.cli.command_line import FilePath, JsonFlag
from vyry.cli.delivery_stats import DeliveryStats, SentMessage
from vyry.cli.errors import flatten_exceptions
from vyry.cli.temporary_node import NodeHandle, random_phone_number, temporary_node
from vyry.client.api.client import Client, Profile
from vyry.client.errors import ChainBroken, ClientError
from vyry.errors import CommandError


#: How long delivery may take after the last message was sent. Less than the time limit of a test, more than the start of a node takes.
DELIVERY_TIMEOUT_SECONDS: Final = 60.0
#: At most this many messages of a user wait for a node that is down.
_MAX_BACKLOG: Final = 20
_TEXT_PREFIX: Final = "soak"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SoakLoad:
    """The load of a soak test.

    Attributes:
        minutes: How long to send. The run then waits for outstanding messages.
        people: Number of users; each writes to every other one.
        rate: Messages per second of each user. A node with rate limits accepts one per second from a device.
        every: Seconds between two progress reports.
    """

    minutes: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 1.0
    people: Annotated[int, Parameter(validator=validators.Number(gte=2, lte=50))] = 4
    rate: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1000))] = 5.0
    every: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 5.0


_DEFAULT_LOAD: Final = SoakLoad()


def soak(
    *,
    load: SoakLoad = _DEFAULT_LOAD,
    url: str | None = None,
    codes: FilePath | None = None,
    as_json: JsonFlag = False,
) -> int:
    """Soak test: clients send messages under load and count losses.

    Exit code 1 if a message was lost, duplicated or out of order, or a hash chain broke.

    Without `--url` it starts a temporary node. If the node goes down, clients wait for it. Ctrl-C ends the run early, with a report.

    Args:
        load: The load: users, rate and duration.
        url: The node to test, instead of a temporary one.
        codes: The file to which that node writes one-time codes (its VYRY_SMS=file:PATH).
        as_json: Print one JSON object per line.
    """
    refusals: list[BaseException] = []
    with _node_under_test(url, codes) as node:
        try:
            return asyncio.run(_SoakRun(load, node, as_json=as_json).run())
        except* (ClientError, CommandError) as problems:
            refusals += flatten_exceptions(problems)
    raise CommandError(f"The clients could not start: {refusals[0]}")


@contextmanager
def _node_under_test(url: str | None, codes: Path | None) -> Iterator[NodeHandle]:
    if url is None:
        with temporary_node() as node:
            yield node
        return
    if codes is None:
        raise CommandError(
            "--url requires --codes: the file of the node's VYRY_SMS=file:PATH, from which the clients read their codes."
        )
    with tempfile.TemporaryDirectory(prefix="vyry-soak-") as folder:
        yield NodeHandle(url, codes, Path(folder))


@dataclass
class _SoakRun:
    """One run; each user is a task of it."""

    load: SoakLoad
    node: NodeHandle
    as_json: bool
    stats: DeliveryStats = field(default_factory=DeliveryStats)
    user_ids: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop_requested = asyncio.Event()
        self._message_received = asyncio.Event()
        self._active_senders = set(range(self.load.people))
        self._all_senders_finished = asyncio.Event()
        self._all_registered = asyncio.Barrier(self.load.people)
        self._run_finished = asyncio.Event()
        self._started_at = time.monotonic()

    async def run(self) -> int:
        """Run the test, print reports, and return the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._stop_requested.set)
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.load.people):
                tasks.create_task(self._run_user(number))
            progress = tasks.create_task(self._report_progress())
            await _completes_within(self.load.minutes * 60, self._stop_requested.wait())
            self._stop_requested.set()
            await self._all_senders_finished.wait()
            await self._wait_for_delivery()
            self._run_finished.set()
            progress.cancel()
        return self._print_result()

    async def _run_user(self, number: int) -> None:
        try:
            async with Client.open(Profile(self.node.profiles_folder / str(number), self.node.url)) as client:
                await self._send_and_receive(client, number)
        except* ChainBroken as broken:
            self.stats.faults["chainsBroken"] += 1
            self._print_event("chainBroken", {"person": number, "reason": str(flatten_exceptions(broken)[0])})
            self._stop_requested.set()
            self._message_received.set()
            self._finish_sender(number)

    async def _send_and_receive(self, client: Client, number: int) -> None:
        phone_number = random_phone_number()
        me = await client.register(phone_number, lambda: self.node.latest_code(phone_number))
        self.user_ids.append(me)
        await self._all_registered.wait()
        chats = {await client.direct(other): (me, other) for other in self.user_ids if other != me}
        await self._all_registered.wait()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._receive_messages(client, me))
            await self._send_messages(client, me, chats)
            self._finish_sender(number)
            await self._run_finished.wait()
            listening.cancel()

    def _finish_sender(self, number: int) -> None:
        self._active_senders.discard(number)
        if not self._active_senders:
            self._all_senders_finished.set()

    async def _send_messages(self, client: Client, me: UUID, chats: Mapping[UUID, Sequence[UUID]]) -> None:
        for chat, readers in itertools.cycle(chats.items()):
            sent = self.stats.record_sent(chat, me, readers, time.monotonic())
            await client.send_text(chat, f"{_TEXT_PREFIX} {sent.number}")
            if self.stats.missing_count > _MAX_BACKLOG * self.load.people:
                await _wait_until_sent(client)
            if await _completes_within(1 / self.load.rate, self._stop_requested.wait()):
                break
        await _wait_until_sent(client)

    async def _receive_messages(self, client: Client, me: UUID) -> None:
        async for event in client.events():
            body = event.body
            match event.name:
                case "message" if str(body.get("text", "")).startswith(_TEXT_PREFIX):
                    number = int(body["text"].split()[1])
                    sent = SentMessage(UUID(body["conversationId"]), UUID(body["senderId"]), number)
                    self.stats.record_received(me, sent, time.monotonic())
                    self._message_received.set()
                case "unreadable" | "notSent" | "lost":
                    self.stats.faults[_FAULT_BY_EVENT[event.name]] += 1
                    self._print_event(event.name, {"reader": str(me), **body})
                case _:
                    pass

    async def _wait_for_delivery(self) -> None:
        """Return when everything was delivered, when a hash chain broke, or when nothing arrived for DELIVERY_TIMEOUT_SECONDS."""
        while self.stats.missing_count > 0 and not self.stats.faults["chainsBroken"]:
            self._message_received.clear()
            if not await _completes_within(DELIVERY_TIMEOUT_SECONDS, self._message_received.wait()):
                return

    async def _report_progress(self) -> None:
        while True:
            await asyncio.sleep(self.load.every)
            self._print_event("progress", self.stats.counts())

    def _print_result(self) -> int:
        is_clean = self.stats.is_clean()
        seconds = time.monotonic() - self._started_at
        body = {**self.stats.counts(), "lost": self.stats.missing_count, "latencyMs": self.stats.latency()}
        self._print_event("end", {"ok": is_clean, "perSecond": round(self.stats.received / seconds, 1), **body})
        return 0 if is_clean else 1

    def _print_event(self, event: str, body: Mapping[str, Any]) -> None:
        line = {"event": event, "seconds": round(time.monotonic() - self._started_at, 1), **body}
        print(orjson.dumps(line).decode() if self.as_json else _format_event(line), flush=True)


_FAULT_BY_EVENT: Final = {"unreadable": "unreadable", "notSent": "refused", "lost": "tombstones"}


async def _wait_until_sent(client: Client) -> None:
    """Wait until the node has accepted everything; messages that a node never got count as lost."""
    await _completes_within(DELIVERY_TIMEOUT_SECONDS, client.sent())


async def _completes_within(seconds: float, what: Awaitable[object]) -> bool:
    """Whether the awaitable finished within that time."""
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        return False
    return True


def _format_event(line: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in line.items() if name not in ("event", "seconds"))
    return f"{line['seconds']:>8.1f} s  {line['event']}: {facts}"
