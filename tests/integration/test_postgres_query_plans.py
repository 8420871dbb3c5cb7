"""The plans of the mail statements on PostgreSQL: nested loops over indexes, whatever the planner believes about a table that fills and empties."""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tests.support.fake_clock import NOON, FakeClock
from tests.support.mail_store_harness import MailStoreHarness, RowRegistry, make_message, open_mailbox
from vyry.kernel.ids import ConversationId, UserId
from vyry.mail.store import MailboxCaps, Preconditions
from vyry.storage.database import connection, open_database
from vyry.storage.mail_postgres.connection import PINNED_PLANS, PostgresConnection
from vyry.storage.mail_postgres.store import PostgresMailStore


EXPLAINING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "client_min_messages": "log",
}
LINES = ("post", "deposit", "collect", "acknowledge", "mailbox")
TABLES = "mailbox|message|content|envelope|fate|account|conversation"
FORBIDDEN = re.compile(
    rf"Seq Scan on ({TABLES})\b|Bitmap|Hash Join|Merge Join|Hash Semi|Merge Semi|Hash Right|Hash Left"
)


class ExplainedLine(PostgresConnection):
    """A line that keeps the plan of every statement it ran, also of those inside functions."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name, PINNED_PLANS | EXPLAINING)
        self.plans: list[str] = []

    async def _connect(self) -> asyncpg.Connection:
        is_new = self._connection is None
        opened: asyncpg.Connection = await super()._connect()
        if is_new:
            opened.add_log_listener(lambda _, message: self.plans.append(message.message or ""))
        return opened


@pytest.fixture
async def lines(postgres_url: str) -> AsyncIterator[dict[str, ExplainedLine]]:
    lines = {name: ExplainedLine(postgres_url, name) for name in (*LINES, "sweep")}
    yield lines
    for line in lines.values():
        await line.close()


@pytest.fixture
async def harness(postgres_url: str, lines: dict[str, ExplainedLine]) -> AsyncIterator[MailStoreHarness]:
    clock = FakeClock()
    async with open_database(postgres_url):
        yield MailStoreHarness(postgres_url, PostgresMailStore(lines, clock, MailboxCaps()), RowRegistry(), clock)


async def use_every_statement(harness: MailStoreHarness) -> None:
    user, conversation = UserId(uuid4()), ConversationId(uuid4())
    ann, bo = await harness.add_mailbox(user), await harness.add_mailbox()
    await harness.registry.add_conversation(conversation, 1)
    message = make_message(ann, bo, sender=ann)
    for _ in range(2):
        await harness.post(message, make_message(ann), guards=Preconditions({user: 1}, {conversation: 1}))
    deposited = await harness.store.deposit([ann, bo])
    await open_mailbox(harness.store, ann, 0, None)
    await harness.store.record_sent(ann, 1)
    await harness.numbered_entries(ann)
    await harness.store.discard(bo, 1)
    for entry in deposited:
        await harness.acknowledge(entry.mailbox, entry.seq, entry.head)
    await harness.upkeep.find_unnumbered(NOON, 10)
    await harness.upkeep.find_unnumbered(NOON, 10, among=[ann, bo])
    await harness.upkeep.load_outcomes([(ann, message.message_id)])


async def bloat(harness: MailStoreHarness) -> None:
    """Many dead rows, and statistics from when they lived; then statistics from after."""
    box = await harness.add_mailbox()
    await connection().execute_script(
        f"""
        INSERT INTO envelope (id, mailbox, content, digest, size, lane, accepted_at, expires_at)
          SELECT nextval('envelope_number'), {box}, n, '', 1, 0, now(), now() FROM generate_series(1, 20000) n;
        INSERT INTO content (id, copies, packed) SELECT n, 1, 'x' FROM generate_series(1, 20000) n;
        ANALYZE envelope; ANALYZE content;
        DELETE FROM envelope; DELETE FROM content;
        """
    )


def broken(lines: dict[str, ExplainedLine]) -> list[str]:
    """The plans that are not nested loops over indexes."""
    return [plan for name in LINES for plan in lines[name].plans if FORBIDDEN.search(plan)]


async def test_on_an_empty_database_every_plan_is_nested_loops_over_indexes(
    harness: MailStoreHarness, lines: dict[str, ExplainedLine]
) -> None:
    await use_every_statement(harness)

    assert sum(len(lines[name].plans) for name in LINES) > 20
    assert broken(lines) == []


async def test_on_a_bloated_table_the_plans_stay_the_same(
    harness: MailStoreHarness, lines: dict[str, ExplainedLine]
) -> None:
    await bloat(harness)
    await use_every_statement(harness)
    await connection().execute_script("ANALYZE envelope; ANALYZE content; ANALYZE mailbox; ANALYZE message;")

    await use_every_statement(harness)

    assert broken(lines) == []


async def test_a_deposit_of_many_never_goes_through_all_mailboxes_for_each_envelope(
    harness: MailStoreHarness, lines: dict[str, ExplainedLine]
) -> None:
    boxes = [await harness.add_mailbox() for _ in range(60)]
    await connection().execute_script("ANALYZE envelope; ANALYZE mailbox;")

    await harness.post(make_message(*boxes))
    await harness.store.deposit(boxes)

    plans = [plan for plan in lines["deposit"].plans if "y.expires_at" in plan or "x.expires_at" in plan]
    assert plans
    assert [plan for plan in plans if "Join Filter" in plan] == []


async def test_a_hello_reads_one_message_of_the_many_that_its_device_posted(
    harness: MailStoreHarness, lines: dict[str, ExplainedLine]
) -> None:
    ann = await harness.add_mailbox()
    await harness.post(*(make_message(sender=ann) for _ in range(200)))
    await open_mailbox(harness.store, ann, 0, None)
    await harness.store.upkeep.load_resume_info(ann)

    plans = [plan for plan in lines["mailbox"].plans if "last_message" in plan]
    assert len(plans) == 2
    for plan in plans:
        assert "Index Scan Backward using message_ordinal on message p" in plan
        # Only the hellos of the statement are sorted, for the order of the locks.
        assert plan.count("Sort Key:") == plan.count("Sort Key: k.box")
