"""`vyry soak`: real clients under load, which count what they hear. What a fault test runs beside whatever it breaks."""

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

from vyry.cli.ledger import Ledger, Said
from vyry.cli.refusals import CannotServe, leaves
from vyry.cli.throwaway import Place, fresh_number, throwaway
from vyry.cli.typed import FilePath
from vyry.client.client import Client, Profile
from vyry.client.refusals import ChainBroken, ClientError


#: How long what was sent may take to be heard, once nothing more is sent. Less than a test's cap, more than a node takes to start.
PATIENCE_SECONDS: Final = 60.0
#: So many messages wait at most for a node that is away.
_BURST: Final = 20
_MARK: Final = "soak"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is said.

    Attributes:
        minutes: How long; afterwards everything still has to arrive.
        people: How many write, each to each.
        rate: Messages a second of each of them. A node with its limits on takes one a second of a device.
        every: Seconds between two reports.
    """

    minutes: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 1.0
    people: Annotated[int, Parameter(validator=validators.Number(gte=2, lte=50))] = 4
    rate: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1000))] = 5.0
    every: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 5.0


_SOME: Final = Load()


def soak(
    *,
    load: Load = _SOME,
    url: str | None = None,
    codes: FilePath | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Let clients chat under load, and count: exit code 1 if a message was lost, doubled or out of order, or a hash chain broke.

    Without `--url` a throwaway node is started for it. A node that dies in between is waited for. Ctrl-C ends early, with a report.

    Args:
        load: How much is said.
        url: The node to load, instead of a throwaway one.
        codes: The file that this node writes one-time codes to (its VYRY_SMS is file:PATH).
        as_json: One JSON object a line.
    """
    refusals: list[BaseException] = []
    with _node(url, codes) as place:
        try:
            return asyncio.run(_Run(load, place, as_json=as_json).report())
        except* (ClientError, CannotServe) as problems:
            refusals += leaves(problems)
    raise CannotServe(f"The clients could not begin: {refusals[0]}")


@contextmanager
def _node(url: str | None, codes: Path | None) -> Iterator[Place]:
    if url is None:
        with throwaway() as place:
            yield place
        return
    if codes is None:
        raise CannotServe(
            "With --url say --codes too: the file named by the node's VYRY_SMS=file:PATH, which the clients read to sign up."
        )
    with tempfile.TemporaryDirectory(prefix="vyry-soak-") as folder:
        yield Place(url, codes, Path(folder))


@dataclass
class _Run:
    """One run: all people are tasks of it."""

    load: Load
    place: Place
    as_json: bool
    ledger: Ledger = field(default_factory=Ledger)
    people: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = asyncio.Event()
        self._news = asyncio.Event()
        self._talking = set(range(self.load.people))
        self._silent = asyncio.Event()
        self._met = asyncio.Barrier(self.load.people)
        self._over = asyncio.Event()
        self._began = time.monotonic()

    async def report(self) -> int:
        """Let it run, telling how it goes; answers the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.load.people):
                tasks.create_task(self._person(number))
            telling = tasks.create_task(self._tell())
            await _within(self.load.minutes * 60, self._stop.wait())
            self._stop.set()
            await self._silent.wait()
            await self._heard()
            self._over.set()
            telling.cancel()
        return self._end()

    async def _person(self, number: int) -> None:
        try:
            async with Client.open(Profile(self.place.profiles / str(number), self.place.url)) as client:
                await self._live(client, number)
        except* ChainBroken as broken:
            self.ledger.faults["chainsBroken"] += 1
            self._say("chainBroken", {"person": number, "reason": str(leaves(broken)[0])})
            self._stop.set()
            self._news.set()
            self._fall_silent(number)

    async def _live(self, client: Client, number: int) -> None:
        phone_number = fresh_number()
        me = await client.register(phone_number, lambda: self.place.code(phone_number))
        self.people.append(me)
        await self._met.wait()
        chats = {await client.direct(other): (me, other) for other in self.people if other != me}
        await self._met.wait()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(client, me))
            await self._write(client, me, chats)
            self._fall_silent(number)
            await self._over.wait()
            listening.cancel()

    def _fall_silent(self, number: int) -> None:
        self._talking.discard(number)
        if not self._talking:
            self._silent.set()

    async def _write(self, client: Client, me: UUID, chats: Mapping[UUID, Sequence[UUID]]) -> None:
        for chat, readers in itertools.cycle(chats.items()):
            said = self.ledger.write(chat, me, readers, time.monotonic())
            await client.send_text(chat, f"{_MARK} {said.number}")
            if self.ledger.waiting > _BURST * self.load.people:
                await _posted(client)
            if await _within(1 / self.load.rate, self._stop.wait()):
                break
        await _posted(client)

    async def _listen(self, client: Client, me: UUID) -> None:
        async for event in client.events():
            body = event.body
            match event.name:
                case "message" if str(body.get("text", "")).startswith(_MARK):
                    number = int(body["text"].split()[1])
                    said = Said(UUID(body["conversationId"]), UUID(body["senderId"]), number)
                    self.ledger.hear(me, said, time.monotonic())
                    self._news.set()
                case "unreadable" | "notSent" | "lost":
                    self.ledger.faults[_FAULTS[event.name]] += 1
                    self._say(event.name, {"reader": str(me), **body})
                case _:
                    pass

    async def _heard(self) -> None:
        """Come back when everything was heard, when a chain broke, or when nothing more came for too long."""
        while self.ledger.waiting > 0 and not self.ledger.faults["chainsBroken"]:
            self._news.clear()
            if not await _within(PATIENCE_SECONDS, self._news.wait()):
                return

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self.load.every)
            self._say("progress", self.ledger.counts())

    def _end(self) -> int:
        is_clean = self.ledger.is_clean()
        seconds = time.monotonic() - self._began
        body = {**self.ledger.counts(), "lost": self.ledger.waiting, "latencyMs": self.ledger.latency()}
        self._say("end", {"ok": is_clean, "perSecond": round(self.ledger.received / seconds, 1), **body})
        return 0 if is_clean else 1

    def _say(self, event: str, body: Mapping[str, Any]) -> None:
        told = {"event": event, "seconds": round(time.monotonic() - self._began, 1), **body}
        print(orjson.dumps(told).decode() if self.as_json else _line(told), flush=True)


_FAULTS: Final = {"unreadable": "unreadable", "notSent": "refused", "lost": "tombstones"}


async def _posted(client: Client) -> None:
    """Wait until the node has everything; what a node that stays away never got will be missing in the end."""
    await _within(PATIENCE_SECONDS, client.sent())


async def _within(seconds: float, what: Awaitable[object]) -> bool:
    """Whether it came within that time."""
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        return False
    return True


def _line(told: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in told.items() if name not in ("event", "seconds"))
    return f"{told['seconds']:>8.1f} s  {told['event']}: {facts}"
