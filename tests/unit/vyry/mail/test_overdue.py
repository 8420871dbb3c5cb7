"""Overdue envelopes on the memory store: those with a reader on this node are deposited here, the others are left to the workers."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from datetime import datetime, timedelta

import pytest

from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store
from vyry.errors import Unavailable
from vyry.kernel.ids import MailboxKey
from vyry.mail import overdue
from vyry.mail.overdue import GRACE, OverdueMail
from vyry.mail.routing import NodeSockets, NoSockets
from vyry.mail.store import MailboxCaps


HANDOVER = timedelta(milliseconds=400)


class Readers(NoSockets):
    def __init__(self, readers: Collection[MailboxKey]) -> None:
        self.readers = readers


class RecordingDepositor:
    def __init__(self) -> None:
        self.fed: list[MailboxKey] = []
        self.came = asyncio.Event()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.fed += mailboxes
        self.came.set()


@pytest.fixture
async def room() -> AsyncIterator[MailStoreHarness]:
    async with open_mail_store(None, MailboxCaps()) as opened:
        yield opened


def overdue_mail(room: MailStoreHarness, depositor: RecordingDepositor, *readers: MailboxKey) -> OverdueMail:
    return OverdueMail(
        room.upkeep,
        depositor=depositor,
        sockets=NodeSockets(Readers(readers)),
        clock=room.clock,
        handover_time=HANDOVER,
    )


async def test_overdue_mail_of_a_reader_is_deposited_here_and_other_mail_is_not(room: MailStoreHarness) -> None:
    ann, bo, depositor = await room.add_mailbox(), await room.add_mailbox(), RecordingDepositor()
    await room.post(make_message(ann, bo))
    room.clock.advance(seconds=1)

    await overdue_mail(room, depositor, ann).check()

    assert depositor.fed == [ann]


async def test_mail_that_a_sweeper_may_still_take_is_left_to_it(room: MailStoreHarness) -> None:
    ann, depositor = await room.add_mailbox(), RecordingDepositor()
    await room.post(make_message(ann, at=room.clock.now() + timedelta(seconds=1) - HANDOVER - GRACE))
    room.clock.advance(seconds=1)

    await overdue_mail(room, depositor, ann).check()

    assert depositor.fed == []


async def test_more_mailboxes_without_a_reader_than_one_search_returns_hide_no_reader(
    room: MailStoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "MAX_BATCH", 2)
    away = [await room.add_mailbox() for _ in range(3)]
    here = [await room.add_mailbox() for _ in range(3)]
    depositor = RecordingDepositor()
    await room.post(make_message(*away))
    await room.post(make_message(*here[:2], at=room.clock.now() + timedelta(milliseconds=1)))
    room.clock.advance(seconds=2)

    await overdue_mail(room, depositor, *here).check()

    assert sorted(depositor.fed) == sorted(here[:2])


async def test_a_database_that_is_down_does_not_end_the_checks(
    room: MailStoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "CHECK_SECONDS", 0.001)
    ann, depositor = await room.add_mailbox(), RecordingDepositor()
    await room.post(make_message(ann))
    room.clock.advance(seconds=1)
    found, failures = room.upkeep.find_unnumbered, iter([Unavailable("The database is unavailable.")])

    async def find(older_than: datetime, limit: int) -> list[MailboxKey]:
        for failure in failures:
            raise failure
        return await found(older_than, limit)

    monkeypatch.setattr(room.upkeep, "find_unnumbered", find)
    running = asyncio.create_task(overdue_mail(room, depositor, ann).run())
    async with asyncio.timeout(5):
        await depositor.came.wait()
    running.cancel()

    assert depositor.fed[0] == ann
