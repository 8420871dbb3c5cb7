"""`make bench ARGS=--growth`: what an envelope costs PostgreSQL in an installation of a thousand, a hundred thousand and a million mailboxes.

One in a hundred mailboxes is active. All installations take their turn in each round; an envelope is posted, deposited and acknowledged by the statements of
the node. Afterwards the dead rows and the size of the tables say what vacuum keeps up with.
"""

import asyncio
import secrets
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from bench.costs import processor_seconds
from bench.results_page import replace_section
from bench.tables import spread, table
from scripts.services import Postgres
from tests.support.mail_store_harness import make_message
from vyry.kernel.chain import first_head
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import Acknowledgement, MailStore, Outdated, Preconditions
from vyry.storage.mail_postgres.store import open_postgres_mail
from vyry.storage.migrator import migrate


HEADING: Final = "## Growth"
CONTENT: Final = secrets.token_bytes(1024)
BATCH: Final = 64
GOAL: Final = 2.1
TABLES: Final = ("mailbox", "envelope", "content", "message", "fate")
_SIZES: Final = """
    SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), s.n_live_tup, s.n_dead_tup, s.autovacuum_count
    FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE c.relname = ANY($1) ORDER BY c.relname"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    sizes: Sequence[int] = (1_000, 100_000, 1_000_000)
    rounds: int = 5
    envelopes: int = 160 * BATCH


QUICK: Final = Plan(sizes=(1_000, 5_000), rounds=1, envelopes=4 * BATCH)


@dataclass(slots=True)
class Installation:
    """One database and its active mailboxes."""

    mailboxes: int
    url: str
    store: MailStore
    active: Sequence[MailboxKey]
    #: Microseconds an envelope by round: PostgreSQL's processor time, and the clock on the wall.
    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


async def fill(url: str, count: int) -> None:
    """That many empty mailboxes, by COPY."""
    connection = await asyncpg.connect(url)
    columns = ("id", "mailbox_id", "head", "acknowledged_head", *_ZEROES, "is_ended")

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(1, count + 1):
            mailbox_id = uuid.UUID(int=(number << 64) | secrets.randbits(64))
            head = first_head(mailbox_id)
            yield number, mailbox_id, head, head, *(0 for _ in _ZEROES), False

    try:
        await connection.copy_records_to_table("mailbox", records=rows(), columns=columns)
        await connection.execute("VACUUM ANALYZE mailbox")
    finally:
        await connection.close()


_ZEROES: Final = (
    "seq",
    "acknowledged_seq",
    "sent_seq",
    "mail_entries",
    "mail_bytes",
    "control_entries",
    "control_bytes",
    "connection",
)


async def work(installation: Installation, envelopes: int) -> None:
    """Post, deposit and acknowledge that many, in batches to active mailboxes in random order."""
    random = secrets.SystemRandom()
    for _ in range(envelopes // BATCH):
        targets = random.choices(installation.active, k=BATCH)
        messages = [make_message(each, text=CONTENT) for each in targets]
        assert not isinstance(await installation.store.post(messages, Preconditions()), Outdated)
        last = {row.mailbox: row for row in await installation.store.deposit(set(targets))}
        points = [Acknowledgement(row.mailbox, row.seq, row.head, row.seq) for row in last.values()]
        assert None not in await installation.store.acknowledge(points)


async def measure(postgres: Postgres, installations: Sequence[Installation], plan: Plan) -> None:
    """All installations in turn, round by round."""
    for number in range(plan.rounds + 1):
        for each in installations:
            print(f"round {number} of {plan.rounds}: {each.mailboxes:,} mailboxes", flush=True)
            used, began = processor_seconds(postgres.pid), time.perf_counter()
            await work(each, plan.envelopes)
            # The first round fills caches and makes plans.
            if number or plan.rounds == 1:
                each.processor.append((processor_seconds(postgres.pid) - used) / plan.envelopes * 1e6)
                each.wall.append((time.perf_counter() - began) / plan.envelopes * 1e6)


@asynccontextmanager
async def open_installation(postgres: Postgres, mailboxes: int) -> AsyncIterator[Installation]:
    """A database with that many mailboxes and a store on it."""
    name = f"growth_{mailboxes}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    url = urlsplit(postgres.url)._replace(path=f"/{name}").geturl()
    await migrate(url)
    await fill(url, mailboxes)
    async with open_postgres_mail(url) as store:
        yield Installation(mailboxes, url, store, [MailboxKey(each) for each in range(1, mailboxes + 1, 100)])


async def describe(installation: Installation) -> list[tuple[str, ...]]:
    """The tables after all rounds."""
    connection = await asyncpg.connect(installation.url)
    try:
        found = await connection.fetch(_SIZES, list(TABLES))
    finally:
        await connection.close()
    name = f"{installation.mailboxes:,}"
    return [
        (name, row["relname"], *(f"{row[at] / (1 << 20):.1f}" for at in (1, 2)), *(f"{row[at]:,}" for at in (3, 4, 5)))
        for row in found
    ]


def write(installations: Sequence[Installation], described: Sequence[tuple[str, ...]], plan: Plan) -> str:
    """The section."""
    smallest = installations[0]
    rows = [
        (
            f"{each.mailboxes:,}",
            f"{len(each.active):,}",
            spread(each.processor, 0),
            spread([one / other for one, other in zip(each.processor, smallest.processor, strict=True) if other]),
            spread(each.wall, 0),
            spread([one / other for one, other in zip(each.wall, smallest.wall, strict=True)]),
        )
        for each in installations
    ]
    ratios = [one / other for one, other in zip(installations[-1].processor, smallest.processor, strict=True) if other]
    worst = statistics.median(ratios or [0.0])
    total = (plan.rounds + 1) * plan.envelopes
    head = ("mailboxes", "active", "PostgreSQL us an envelope", "ratio", "wall us an envelope", "ratio")
    after = ("mailboxes", "table", "MiB", "indexes MiB", "live rows", "dead rows", "autovacuums")
    return f"""{HEADING}

Written by `make bench ARGS=--growth`: {plan.rounds} interleaved rounds of {plan.envelopes:,} envelopes of 1 KiB in batches of {BATCH}, posted, deposited and acknowledged; mailboxes filled by COPY.

{table(head, rows)}

Goal: the largest at most {GOAL}x the smallest: {worst:.2f}, {"reached" if worst <= GOAL else "**not reached**"}.

After {total:,} acknowledged envelopes each:

{table(after, described)}
"""


async def run_all(postgres: Postgres, plan: Plan) -> str:
    """Fill, measure, describe."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_installation(postgres, size)) for size in plan.sizes]
        await measure(postgres, opened, plan)
        described = [row for each in opened for row in await describe(each)]
        return write(opened, described, plan)


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    plan = QUICK if is_quick else Plan()
    with Postgres() as postgres:
        text = asyncio.run(run_all(postgres, plan))
    print(text)
    if not is_quick:
        page = out.read_text(encoding="utf-8") if out.exists() else ""
        out.write_text(replace_section(page, text), encoding="utf-8")
