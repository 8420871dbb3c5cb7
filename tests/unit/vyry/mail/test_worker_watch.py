"""The watch of heartbeats: what it finds, what it does with a database that is down, and what it tells the operator."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store
from vyry.errors import Unavailable
from vyry.mail import worker_watch
from vyry.mail.store import MailboxCaps
from vyry.mail.worker_watch import WorkerWatch
from vyry.telemetry import OLDEST_UNDEPOSITED


class Heartbeats:
    """The counts that the database returns, one after the other; None is a database that is down."""

    def __init__(self, *counts: int | None) -> None:
        self.counts = list(counts)
        self.all_read = asyncio.Event()

    async def count(self) -> int:
        found = self.counts.pop(0)
        if not self.counts:
            self.all_read.set()
        if found is None:
            raise Unavailable("The database is unavailable.")
        return found


@pytest.fixture
async def room() -> AsyncIterator[MailStoreHarness]:
    async with open_mail_store(None, MailboxCaps()) as opened:
        yield opened


async def test_the_loss_and_the_return_of_all_workers_are_one_log_line_each(room: MailStoreHarness) -> None:
    watch = WorkerWatch(Heartbeats(2, 0, 1, 0, 0, 0, 1, 1).count, room.upkeep)
    seen = []

    with structlog.testing.capture_logs() as lines:
        for _ in range(8):
            await watch.check()
            seen.append(watch.is_any_alive)

    assert seen == [True, True, True, True, False, False, True, True]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("no_worker_alive", "error"),
        ("workers_alive", "info"),
    ]


async def test_without_workers_the_web_node_measures_the_oldest_undeposited_envelope(room: MailStoreHarness) -> None:
    await room.post(make_message(await room.add_mailbox()))
    room.clock.advance(seconds=7)
    watch = WorkerWatch(Heartbeats(0, 0).count, room.upkeep)

    for _ in range(2):
        await watch.check()

    assert OLDEST_UNDEPOSITED._value.get() == 7


async def test_a_database_that_is_down_says_nothing_about_workers(
    room: MailStoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_watch, "CHECK_SECONDS", 0.001)
    heartbeats = Heartbeats(0, 0, None, None)
    watch = WorkerWatch(heartbeats.count, room.upkeep)

    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(5):
        await heartbeats.all_read.wait()
    running.cancel()

    assert not watch.is_any_alive
