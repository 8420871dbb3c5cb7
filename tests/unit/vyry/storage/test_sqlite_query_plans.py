"""The plans of the mail statements on SQLite: each finds its rows by a key or an index, none reads a whole table."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store, open_mailbox
from vyry.kernel.ids import ConversationId, UserId
from vyry.mail.store import MailboxCaps, Preconditions


TABLES = ("message", "content", "envelope", "fate", "mailbox", "device", "account", "conversation")
#: The metrics read the mailboxes, one row a device, every few seconds.
ALLOWED = {"sum(seq - acknowledged_seq)"}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement that the store runs, with its values."""
    seen: set[str] = set()
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(seen.add)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return seen


@pytest.fixture
async def harness(sqlite_url: str, statements: set[str]) -> AsyncIterator[MailStoreHarness]:
    async with open_mail_store(sqlite_url, MailboxCaps()) as harness:
        yield harness


async def use_every_statement(harness: MailStoreHarness) -> None:
    user, conversation = UserId(uuid4()), ConversationId(uuid4())
    ann, bo = await harness.add_mailbox(user), await harness.add_mailbox()
    await harness.registry.add_conversation(conversation, 1)
    message = make_message(ann, bo, sender=ann, lifetime=timedelta(seconds=1))
    for _ in range(2):
        await harness.post(message, make_message(ann), guards=Preconditions({user: 1}, {conversation: 1}))
    deposited = await harness.store.deposit([ann, bo])
    await open_mailbox(harness.store, ann, 0, None)
    await harness.store.record_sent(ann, 1)
    await harness.numbered_entries(ann)
    await harness.store.discard(bo, 1)
    await harness.upkeep.find_unnumbered(NOON, 10)
    await harness.upkeep.find_unnumbered(NOON, 10, among=[ann, bo])
    await harness.upkeep.expire(NOON + timedelta(seconds=1), 10)
    for entry in deposited:
        await harness.acknowledge(entry.mailbox, entry.seq, entry.head)
    await harness.upkeep.copy_statuses(user, message.message_id)
    await harness.upkeep.measure_backlog()
    await harness.upkeep.delete_old_outcomes(NOON + timedelta(days=1), 10)


def scans(connection: sqlite3.Connection, statement: str) -> list[str]:
    """What this statement reads from end to end."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    return [
        step
        for step in plan
        if step.startswith("SCAN") and "INDEX" not in step and step.split()[1] in {*TABLES, "e", "m"}
    ]


async def test_no_statement_reads_a_whole_table(
    harness: MailStoreHarness, sqlite_url: str, statements: set[str]
) -> None:
    await use_every_statement(harness)

    ours = [each for each in statements if each.lstrip().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"))]
    with closing(sqlite3.connect(Path(urlsplit(sqlite_url).path))) as connection:
        found = {each: scans(connection, each) for each in ours if not any(text in each for text in ALLOWED)}
    assert len(found) > 30
    assert {statement: steps for statement, steps in found.items() if steps} == {}
