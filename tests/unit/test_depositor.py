"""The depositor: dirty mailboxes in batches, a database that is away, and poison that is parked and counted."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.contracts.mail_room import StandingClock
from tests.listening import Heard
from vyry.adapters.in_process import InProcessDoorbell
from vyry.adapters.memory_mail import MemoryMailStore
from vyry.errors import Unavailable
from vyry.ids import MailboxKey
from vyry.mail import depositing
from vyry.mail.depositing import BATCH, Depositor
from vyry.mail.store import Deposited
from vyry.telemetry import PARKED


class Frail(MemoryMailStore):
    """Deposits one envelope for each mailbox, except for the poisonous ones; it may be away, and waits while it is held."""

    def __init__(self) -> None:
        super().__init__(StandingClock())
        self.poison: set[MailboxKey] = set()
        self.away = 0
        self.asked: list[list[MailboxKey]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        self.asked.append(list(mailboxes))
        await self.go.wait()
        if self.away:
            self.away -= 1
            raise Unavailable
        if self.poison & set(mailboxes):
            raise ValueError("poison")
        return [Deposited(mailbox, 1, bytes(32), 1, None) for mailbox in mailboxes]


class Told:
    """Follows a depositor."""

    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []
        self._news = asyncio.Condition()

    async def deposited(self, rows: Sequence[Deposited]) -> None:
        async with self._news:
            self.mailboxes += [row.mailbox for row in rows]
            self._news.notify_all()

    async def count(self, count: int) -> list[MailboxKey]:
        """The first so many, once they are there."""
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: len(self.mailboxes) >= count)
        return self.mailboxes


@asynccontextmanager
async def at_work(store: Frail) -> AsyncIterator[tuple[Depositor, Told]]:
    told = Told()
    depositor = Depositor(store, InProcessDoorbell())
    depositor.follow(told.deposited)
    work = asyncio.create_task(depositor.run())
    yield depositor, told
    work.cancel()


def boxes(*numbers: int) -> list[MailboxKey]:
    return [MailboxKey(number) for number in numbers]


async def test_while_one_batch_commits_the_next_one_gathers_without_doubles() -> None:
    store = Frail()
    store.go.clear()
    async with at_work(store) as (depositor, told):
        depositor.add(boxes(1))
        await asyncio.sleep(0)
        for _ in range(3):
            depositor.add(boxes(2, 1, 3))
        store.go.set()
        await told.count(4)

    assert store.asked == [boxes(1), boxes(2, 1, 3)]


async def test_a_batch_has_a_limit() -> None:
    store = Frail()
    async with at_work(store) as (depositor, told):
        depositor.add(boxes(*range(BATCH + 10)))
        everything = await told.count(BATCH + 10)

    assert [len(batch) for batch in store.asked] == [BATCH, 10]
    assert everything == boxes(*range(BATCH + 10))


async def test_poison_is_parked_and_counted_and_the_others_go_on() -> None:
    store = Frail()
    store.poison = set(boxes(5))
    before = PARKED._value.get()
    async with at_work(store) as (depositor, told):
        depositor.add(boxes(*range(10)))
        others = set(await told.count(9))
        depositor.add(boxes(5))
        depositor.add(boxes(11))
        await told.count(10)

    assert others == set(boxes(*range(10))) - store.poison
    assert PARKED._value.get() == before + 1
    assert sum(5 in batch for batch in store.asked[-2:]) == 0


async def test_what_was_parked_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "PARKED_SECONDS", 0.0)
    store = Frail()
    store.poison = set(boxes(5))
    async with at_work(store) as (depositor, told):
        depositor.add(boxes(5))
        depositor.add(boxes(6))
        await told.count(1)
        store.poison = set()
        depositor.add(boxes(5))
        everything = await told.count(2)

    assert everything == boxes(6, 5)


async def test_a_database_that_was_away_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "_RETRY_SECONDS", (0.0,))
    store = Frail()
    store.away = 4
    async with at_work(store) as (depositor, told):
        depositor.add(boxes(1, 2))
        everything = await told.count(2)

    assert everything == boxes(1, 2)
    assert len(store.asked) == 5


async def test_a_database_that_goes_away_in_the_hunt_for_poison_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "_RETRY_SECONDS", (0.0,))
    store = Frail()
    store.poison = set(boxes(1))
    async with at_work(store) as (depositor, told):
        store.go.clear()
        depositor.add(boxes(1, 2, 3, 4))
        await asyncio.sleep(0)
        store.go.set()
        await asyncio.sleep(0)
        store.away = 1
        everything = set(await told.count(3))

    assert everything >= set(boxes(2, 3, 4))


async def test_without_a_follower_the_doorbell_rings() -> None:
    bell, heard = InProcessDoorbell(), Heard()
    bell.listen(heard)
    await bell.hold(MailboxKey(1), 1)
    depositor = Depositor(Frail(), bell)
    work = asyncio.create_task(depositor.run())

    depositor.add(boxes(1, 2))

    assert await heard.next() == ("ring", {1})
    work.cancel()


async def test_only_a_deposit_that_began_afterwards_settles_a_mailbox() -> None:
    store = Frail()
    store.go.clear()
    async with at_work(store) as (depositor, _), asyncio.timeout(5):
        depositor.add(boxes(1))
        await asyncio.sleep(0)
        settling = asyncio.create_task(depositor.settle(MailboxKey(1)))
        await asyncio.sleep(0)
        store.go.set()
        await settling

    assert store.asked == [boxes(1), boxes(1)]


async def test_nobody_waits_long_for_a_mailbox_that_cannot_be_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "SETTLE_SECONDS", 0.05)
    store = Frail()
    store.go.clear()
    async with at_work(store) as (depositor, _), asyncio.timeout(5):
        await depositor.settle(MailboxKey(1))

    assert store.asked == [boxes(1)]


async def test_a_database_that_is_away_lets_the_waiting_go_at_once() -> None:
    store = Frail()
    store.away = 1
    async with at_work(store) as (depositor, _), asyncio.timeout(depositing.SETTLE_SECONDS / 2):
        await depositor.settle(MailboxKey(1))
