"""The depositor: dirty mailboxes in batches, a database that is away, and poison that is parked and counted."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.fakes.mail import MemoryMailStore
from tests.support.fake_clock import FakeClock
from tests.support.recording_listener import RecordingListener
from vyry.errors import Unavailable
from vyry.in_process.routing import InProcessNotifier
from vyry.kernel.ids import MailboxKey
from vyry.mail import depositing
from vyry.mail.depositing import MAX_BATCH_MAILBOXES, Depositor
from vyry.mail.routing import NodeSockets, NoSockets
from vyry.mail.store import Deposited
from vyry.telemetry import POISONED_MAILBOXES


class FailingStore(MemoryMailStore):
    """Deposits one envelope for each mailbox, except for the poisonous ones; it may be away, and waits while it is held."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
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


class RecordingObserver(NoSockets):
    """The sockets of a node, which are told of all deposits."""

    def __init__(self) -> None:
        self.mailboxes: list[MailboxKey] = []
        self._news = asyncio.Event()

    def on_deposited(self, rows: Sequence[Deposited]) -> set[MailboxKey]:
        self.mailboxes += [row.mailbox for row in rows]
        self._news.set()
        return set()

    async def count(self, count: int) -> list[MailboxKey]:
        """The first so many, once they are there."""
        async with asyncio.timeout(5):
            while len(self.mailboxes) < count:
                self._news.clear()
                await self._news.wait()
        return self.mailboxes


@asynccontextmanager
async def run_depositor(store: FailingStore) -> AsyncIterator[tuple[Depositor, RecordingObserver]]:
    told = RecordingObserver()
    sockets = NodeSockets(told)
    depositor = Depositor(store, notifier=InProcessNotifier(sockets), sockets=sockets)
    work = asyncio.create_task(depositor.run())
    yield depositor, told
    work.cancel()


def mailbox_keys(*numbers: int) -> list[MailboxKey]:
    return [MailboxKey(number) for number in numbers]


async def test_while_one_batch_commits_the_next_one_gathers_without_doubles() -> None:
    store = FailingStore()
    store.go.clear()
    async with run_depositor(store) as (depositor, told):
        depositor.add(mailbox_keys(1))
        await asyncio.sleep(0)
        for _ in range(3):
            depositor.add(mailbox_keys(2, 1, 3))
        store.go.set()
        await told.count(4)

    assert store.asked == [mailbox_keys(1), mailbox_keys(2, 1, 3)]


async def test_a_batch_has_a_limit() -> None:
    store = FailingStore()
    async with run_depositor(store) as (depositor, told):
        depositor.add(mailbox_keys(*range(MAX_BATCH_MAILBOXES + 10)))
        everything = await told.count(MAX_BATCH_MAILBOXES + 10)

    assert [len(batch) for batch in store.asked] == [MAX_BATCH_MAILBOXES, 10]
    assert everything == mailbox_keys(*range(MAX_BATCH_MAILBOXES + 10))


async def test_poison_is_parked_and_counted_and_the_others_go_on() -> None:
    store = FailingStore()
    store.poison = set(mailbox_keys(5))
    before = POISONED_MAILBOXES._value.get()
    async with run_depositor(store) as (depositor, told):
        depositor.add(mailbox_keys(*range(10)))
        others = set(await told.count(9))
        depositor.add(mailbox_keys(5))
        depositor.add(mailbox_keys(11))
        await told.count(10)

    assert others == set(mailbox_keys(*range(10))) - store.poison
    assert POISONED_MAILBOXES._value.get() == before + 1
    assert sum(5 in batch for batch in store.asked[-2:]) == 0


async def test_what_was_parked_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "POISON_RETRY_SECONDS", 0.0)
    store = FailingStore()
    store.poison = set(mailbox_keys(5))
    async with run_depositor(store) as (depositor, told):
        depositor.add(mailbox_keys(5))
        depositor.add(mailbox_keys(6))
        await told.count(1)
        store.poison = set()
        depositor.add(mailbox_keys(5))
        everything = await told.count(2)

    assert everything == mailbox_keys(6, 5)


async def test_a_database_that_was_away_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "_RETRY_SECONDS", (0.0,))
    store = FailingStore()
    store.away = 4
    async with run_depositor(store) as (depositor, told):
        depositor.add(mailbox_keys(1, 2))
        everything = await told.count(2)

    assert everything == mailbox_keys(1, 2)
    assert len(store.asked) == 5


async def test_a_database_that_goes_away_in_the_hunt_for_poison_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "_RETRY_SECONDS", (0.0,))
    store = FailingStore()
    store.poison = set(mailbox_keys(1))
    async with run_depositor(store) as (depositor, told):
        store.go.clear()
        depositor.add(mailbox_keys(1, 2, 3, 4))
        await asyncio.sleep(0)
        store.go.set()
        await asyncio.sleep(0)
        store.away = 1
        everything = set(await told.count(3))

    assert everything >= set(mailbox_keys(2, 3, 4))


async def test_without_a_follower_the_doorbell_rings() -> None:
    sockets = NodeSockets(heard := RecordingListener())
    notifier = InProcessNotifier(sockets)
    await notifier.register_socket(MailboxKey(1), 1)
    depositor = Depositor(FailingStore(), notifier=notifier, sockets=sockets)
    work = asyncio.create_task(depositor.run())

    depositor.add(mailbox_keys(1, 2))

    assert await heard.next_event() == ("notify", {1})
    work.cancel()


async def test_only_a_deposit_that_began_afterwards_settles_a_mailbox() -> None:
    store = FailingStore()
    store.go.clear()
    async with run_depositor(store) as (depositor, _), asyncio.timeout(5):
        depositor.add(mailbox_keys(1))
        await asyncio.sleep(0)
        settling = asyncio.create_task(depositor.flush(MailboxKey(1)))
        await asyncio.sleep(0)
        store.go.set()
        await settling

    assert store.asked == [mailbox_keys(1), mailbox_keys(1)]


async def test_nobody_waits_long_for_a_mailbox_that_cannot_be_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depositing, "FLUSH_TIMEOUT_SECONDS", 0.05)
    store = FailingStore()
    store.go.clear()
    async with run_depositor(store) as (depositor, _), asyncio.timeout(5):
        await depositor.flush(MailboxKey(1))

    assert store.asked == [mailbox_keys(1)]


async def test_a_database_that_is_away_lets_the_waiting_go_at_once() -> None:
    store = FailingStore()
    store.away = 1
    async with run_depositor(store) as (depositor, _), asyncio.timeout(depositing.FLUSH_TIMEOUT_SECONDS / 2):
        await depositor.flush(MailboxKey(1))
