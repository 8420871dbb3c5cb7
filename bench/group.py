"""A post to a group of a thousand devices: `make bench ARGS=--group`.

How long until it is accepted and until the last device has it, what is written for it, and what it does to other people's mail meanwhile; beside a
thousand posts of the same content to one device each.
"""

import asyncio
import secrets
import statistics
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import asyncpg

from bench.idle import raise_file_limit
from bench.load import Member
from bench.results_page import replace_section
from bench.seed import AccountSeeder
from bench.wire import Frame, Socket
from scripts.nodes import Cluster, open_cluster
from scripts.services import Postgres


HEADING: Final = "## A group of a thousand"
SIZES: Final = (1 << 10, 16 << 10, 64 << 10)
#: Posts to single devices that are under way at once.
IN_FLIGHT: Final = 64
#: Between two posts of the people who have nothing to do with the group.
BYSTANDER_SECONDS: Final = 0.01


_ABOUT_CONTENTS: Final = r"""
    WITH places AS (
        SELECT pg_relation_filenode(oid) AS node FROM pg_class
        WHERE oid = 'content'::regclass OR oid IN (SELECT reltoastrelid FROM pg_class WHERE oid = 'content'::regclass)
            OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'content'::regclass
                OR indrelid IN (SELECT reltoastrelid FROM pg_class WHERE oid = 'content'::regclass)))
    SELECT sum(record_length) FROM pg_get_wal_records_info('0/0'::pg_lsn + $1::bigint, '0/0'::pg_lsn + $2::bigint)
    WHERE substring(block_ref FROM 'rel \d+/\d+/(\d+)')::bigint IN (SELECT node FROM places)"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    readers: int = 999
    rounds: int = 5
    quiet_seconds: float = 2.0


QUICK: Final = Plan(readers=9, rounds=1, quiet_seconds=0.2)


@dataclass(slots=True)
class Figures:
    """Of every round: seconds and bytes, by size of the content."""

    accepted: dict[int, list[float]] = field(default_factory=dict)
    delivered: dict[int, list[float]] = field(default_factory=dict)
    written: dict[int, list[int]] = field(default_factory=dict)
    written_for_contents: dict[int, list[int]] = field(default_factory=dict)
    singles_delivered: dict[int, list[float]] = field(default_factory=dict)
    singles_written: dict[int, list[int]] = field(default_factory=dict)
    #: Seconds from post to delivery of bystanders, while nothing else goes on and while groups are posted to.
    quiet_latencies: list[float] = field(default_factory=list)
    busy_latencies: list[float] = field(default_factory=list)


class GroupClient:
    """One device with its socket; acknowledges what it gets."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.socket: Socket | None = None
        self.answers: dict[str, asyncio.Future[None]] = {}
        #: Resolves when this message comes.
        self.awaited: dict[str, asyncio.Future[None]] = {}

    async def open(self) -> None:
        """Connect and say hello."""
        self.socket = await Socket.open(self.member.url, self.member.token, "msgpack", self._on_frame)
        hello: dict[str, object] = {"after": 0, "head": None, "client": {"name": "bench", "version": "1"}}
        await self.request("hello", hello)

    async def request(self, name: str, payload: dict[str, object]) -> None:
        """Come back when the node has answered."""
        ref, answered = uuid.uuid4().hex, asyncio.get_running_loop().create_future()
        self.answers[ref] = answered
        assert self.socket is not None
        self.socket.send({"type": name, "id": ref, "payload": payload})
        await answered

    def wait_for_message(self, message_id: str) -> asyncio.Future[None]:
        """Done when this message has come."""
        self.awaited[message_id] = asyncio.get_running_loop().create_future()
        return self.awaited[message_id]

    def _on_frame(self, socket: Socket, frame: Frame) -> None:
        payload = cast("dict[str, Any]", frame.get("payload"))
        if frame["type"] == "entries":
            for entry in payload["entries"]:
                if (came := self.awaited.pop(entry.get("messageId"), None)) is not None:
                    came.set_result(None)
            last = payload["entries"][-1]
            point = {"seq": last.get("throughSeq", last["seq"]), "head": last["head"]}
            socket.send({"type": "acknowledge", "id": "a", "payload": point})
        elif (answered := self.answers.pop(str(frame.get("ref")), None)) is not None:
            if frame["type"] == "refused":
                answered.set_exception(RuntimeError(f"{frame}"))
            else:
                answered.set_result(None)


@dataclass(frozen=True, slots=True)
class GroupSetup:
    """Everybody, connected."""

    postgres: Postgres
    sender: GroupClient
    readers: Sequence[GroupClient]
    group: str
    #: The sender's direct conversation with each reader, in their order.
    directs: Sequence[str]
    bystanders: tuple[GroupClient, GroupClient]
    between: str


@asynccontextmanager
async def open_group(installation: Cluster, plan: Plan) -> AsyncIterator[GroupSetup]:
    """Sign everybody up at one node and connect them."""
    url = installation.webs[0].url
    async with aiohttp.ClientSession() as http:
        registry = AccountSeeder(http, url, installation.otp_file)
        people = [GroupClient(each) for each in await registry.members(plan.readers + 3, with_keys=True)]
        sender, *readers, one, other = people
        directs = [(await registry.pair(sender.member, each.member)).conversation_id for each in readers]
        between = (await registry.pair(one.member, other.member)).conversation_id
        group = await registry.group(sender.member, [each.member for each in readers])
    for person in people:
        await person.open()
    yield GroupSetup(installation.postgres, sender, readers, group, directs, (one, other), between)
    for person in people:
        assert person.socket is not None
        person.socket.close()


def _post(message_id: str, conversation: str, readers: Sequence[GroupClient], content: bytes) -> dict[str, object]:
    """A post of one content, shared by all of these devices."""
    recipients = [
        {
            "userId": each.member.user_id,
            "epoch": each.member.epoch,
            "devices": [{"deviceId": each.member.device_id, "registrationId": each.member.registration_id}],
        }
        for each in readers
    ]
    return {"messageId": message_id, "conversationId": conversation, "content": content, "recipients": recipients}


async def post(
    sender: GroupClient, conversation: str, readers: Sequence[GroupClient], content: bytes
) -> tuple[float, float]:
    """Post to all of these at once; seconds until it was accepted, and until the last of them had it."""
    message_id, loop = str(uuid.uuid4()), asyncio.get_running_loop()
    came = [reader.wait_for_message(message_id) for reader in readers]
    began = loop.time()
    await sender.request("post", _post(message_id, conversation, readers, content))
    accepted = loop.time() - began
    await asyncio.gather(*came)
    return accepted, loop.time() - began


async def post_to_each(world: GroupSetup, content: bytes) -> float:
    """Post the same content to each reader for itself; seconds until the last of them had it."""
    gate, loop = asyncio.Semaphore(IN_FLIGHT), asyncio.get_running_loop()

    async def one(conversation: str, reader: GroupClient) -> None:
        async with gate:
            await post(world.sender, conversation, [reader], content)

    began = loop.time()
    await asyncio.gather(*(one(*pair) for pair in zip(world.directs, world.readers, strict=True)))
    return loop.time() - began


async def query_value(postgres: Postgres, statement: str, *values: object) -> Any:
    """The one value that a statement answers."""
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def checkpoint_and_warm(postgres: Postgres) -> None:
    """What a page costs again after each checkpoint belongs to the checkpoint, not to whoever touches it first."""
    for statement in (
        "CREATE EXTENSION IF NOT EXISTS pg_walinspect",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
    ):
        await query_value(postgres, statement)


async def wal_bytes(postgres: Postgres) -> int:
    """Bytes of the database's log so far."""
    return int(await query_value(postgres, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"))


async def content_wal_bytes(postgres: Postgres, begin: int, end: int) -> int:
    """Bytes of that part of the log that are about the table of contents, with all that PostgreSQL keeps beside it."""
    return int(await query_value(postgres, _ABOUT_CONTENTS, begin, end) or 0)


async def bystander_chat(world: GroupSetup, seen: list[float], until: asyncio.Event) -> None:
    """Two who have nothing to do with the group write to each other."""
    one, other = world.bystanders
    while not until.is_set():
        seen.append((await post(one, world.between, [other], secrets.token_bytes(1024)))[1])
        await asyncio.sleep(BYSTANDER_SECONDS)


async def measure(installation: Cluster, plan: Plan) -> Figures:
    """All rounds, group and single posts of each size in turn."""
    figures = Figures()
    await checkpoint_and_warm(installation.postgres)
    async with open_group(installation, plan) as world:
        await post(world.sender, world.group, world.readers, secrets.token_bytes(1024))
        await post_to_each(world, secrets.token_bytes(1024))
        for number in range(plan.rounds):
            for size in SIZES:
                print(f"round {number + 1} of {plan.rounds}: {size >> 10} KiB", flush=True)
                await _round(world, size, figures)
            await _beside(world, plan, figures)
    return figures


async def wal_after_cleanup(postgres: Postgres) -> int:
    """Bytes of the log when everything is acknowledged, and with that every content gone."""
    while await query_value(postgres, "SELECT count(*) FROM content"):  # noqa: ASYNC110  another process does it
        await asyncio.sleep(0.05)
    return await wal_bytes(postgres)


async def _round(world: GroupSetup, size: int, figures: Figures) -> None:
    content, before = secrets.token_bytes(size), await wal_after_cleanup(world.postgres)
    accepted, delivered = await post(world.sender, world.group, world.readers, content)
    between = await wal_after_cleanup(world.postgres)
    singly = await post_to_each(world, secrets.token_bytes(size))
    after = await wal_after_cleanup(world.postgres)
    figures.accepted.setdefault(size, []).append(accepted)
    figures.delivered.setdefault(size, []).append(delivered)
    figures.written.setdefault(size, []).append(between - before)
    about = await content_wal_bytes(world.postgres, before, between)
    figures.written_for_contents.setdefault(size, []).append(about)
    figures.singles_delivered.setdefault(size, []).append(singly)
    figures.singles_written.setdefault(size, []).append(after - between)


async def _beside(world: GroupSetup, plan: Plan, figures: Figures) -> None:
    """What bystanders see: for a while of quiet, and while the group is posted to again and again."""
    for seen, is_busy in ((figures.quiet_latencies, False), (figures.busy_latencies, True)):
        until = asyncio.Event()
        chatting = asyncio.create_task(bystander_chat(world, seen, until))
        ends = asyncio.get_running_loop().time() + plan.quiet_seconds
        while is_busy and asyncio.get_running_loop().time() < ends:
            await post(world.sender, world.group, world.readers, secrets.token_bytes(1024))
        await asyncio.sleep(max(0.0, ends - asyncio.get_running_loop().time()))
        until.set()
        await chatting


def write(figures: Figures, plan: Plan) -> str:
    """The section of the page."""
    count = plan.readers
    rows = [_row(figures, size, count) for size in SIZES]
    shares = {size: [each / size for each in octets] for size, octets in figures.written_for_contents.items()}
    told = ", ".join(f"{size >> 10} KiB: {format_spread(share, '.2f')}" for size, share in shares.items())
    worst = max(statistics.median(share) for share in shares.values())
    return f"""{HEADING}

Written by `make bench ARGS=--group`: {plan.rounds} rounds on one web node, a worker, PostgreSQL, Redis and Kafka; {count} readers on sockets of that node, who acknowledge at once; median (lowest to highest).
Beside it the same content posted to each reader for itself, {IN_FLIGHT} posts under way. The load client runs on the same cores, reads every frame, and takes most of the time of large contents.

| content | accepted ms | last delivery ms | one by one: last delivery ms | ratio | log KiB | one by one: log KiB | ratio |
| --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

Bytes written for a byte of shared content, however many share it: {told} ({"reached" if worst <= 1.2 else "**not reached**"}: at most 1.2). Counted are the records of PostgreSQL's log about the table of contents, its index and what lies beside it,
until the last device has acknowledged. The envelopes are the rest of the log: {statistics.median(figures.written[SIZES[0]]) / count:.0f} bytes each, stored, numbered, delivered and acknowledged. Pages written whole after a checkpoint are left out (`full_page_writes` off).

Two who write to each other at the same node meanwhile (and in the same client, which reads a thousand frames for each group post), from post to delivery: p50 {percentile(figures.quiet_latencies, 0.5):.1f} ms and p99 {percentile(figures.quiet_latencies, 0.99):.1f} ms while nothing else goes on; p50 {percentile(figures.busy_latencies, 0.5):.1f} ms, p99 {percentile(figures.busy_latencies, 0.99):.1f} ms and
at worst {max(figures.busy_latencies) * 1000:.0f} ms while one group post follows the other without a pause.
"""


def _row(figures: Figures, size: int, count: int) -> str:
    times = zip(figures.delivered[size], figures.singles_delivered[size], strict=True)
    octets = zip(figures.written[size], figures.singles_written[size], strict=True)
    cells = (
        f"{size >> 10} KiB to {count}",
        format_spread([each * 1000 for each in figures.accepted[size]], ".0f"),
        format_spread([each * 1000 for each in figures.delivered[size]], ".0f"),
        format_spread([each * 1000 for each in figures.singles_delivered[size]], ".0f"),
        format_spread([group / singly for group, singly in times], ".2f"),
        format_spread([each / 1024 for each in figures.written[size]], ".0f"),
        format_spread([each / 1024 for each in figures.singles_written[size]], ".0f"),
        format_spread([group / singly for group, singly in octets], ".3f"),
    )
    return f"| {' | '.join(cells)} |"


def format_spread(values: Sequence[float], form: str) -> str:
    """The median, and between what the values lie."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def percentile(values: Sequence[float], share: float) -> float:
    """What `share` of these seconds did not exceed, in milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    raise_file_limit()
    plan = QUICK if is_quick else Plan()
    with open_cluster(webs=1, workers=1) as installation:
        figures = asyncio.run(measure(installation, plan))
    section = write(figures, plan)
    print(section)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), section), encoding="utf-8")
