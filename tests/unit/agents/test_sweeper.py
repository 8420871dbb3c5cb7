"""The sweeper on the memory store: what is forgotten is found, what is over goes, and a failing database ends nothing."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from agents import sweeper as sweeper_module
from agents.sweeper import PeriodicTask, Sweeper
from tests.support.mail_store_harness import MailStoreHarness, make_message, open_mail_store
from vyry.errors import Unavailable
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import MailboxCaps
from vyry.telemetry import SWEEPER_FOUND


HANDOVER = timedelta(milliseconds=500)


class RecordingDepositor:
    """A depositor that only notes what it is fed."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[set[MailboxKey]] = asyncio.Queue()

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        self.came.put_nowait(set(mailboxes))

    async def next(self) -> set[MailboxKey]:
        """The next lot."""
        async with asyncio.timeout(5):
            return await self.came.get()


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailStoreHarness]:
    monkeypatch.setattr(sweeper_module, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(sweeper_module, "EXPIRE_SECONDS", 0.01)
    async with open_mail_store(None, MailboxCaps()) as opened:
        yield opened


@asynccontextmanager
async def sweeping(
    harness: MailStoreHarness, fed: RecordingDepositor, chores: Collection[PeriodicTask] = ()
) -> AsyncIterator[Sweeper]:
    async with asyncio.TaskGroup() as tasks:
        sweeper = Sweeper(
            harness.upkeep, depositor=fed, clock=harness.clock, handover_time=HANDOVER, tasks=list(chores)
        )
        running = tasks.create_task(sweeper.run())
        yield sweeper
        running.cancel()


async def test_what_was_not_handed_over_in_time_is_deposited_and_counted(harness: MailStoreHarness) -> None:
    ann, fed, before = await harness.add_mailbox(), RecordingDepositor(), SWEEPER_FOUND._value.get()
    await harness.post(make_message(ann))
    harness.clock.advance(seconds=1)

    async with sweeping(harness, fed):
        found = await fed.next()

    assert found == {ann}
    assert SWEEPER_FOUND._value.get() > before


async def test_what_is_younger_than_the_hand_over_is_left_to_the_agent(harness: MailStoreHarness) -> None:
    ann, bo, fed = await harness.add_mailbox(), await harness.add_mailbox(), RecordingDepositor()
    await harness.post(make_message(ann))
    harness.clock.advance(seconds=1)
    await harness.post(make_message(bo, at=harness.clock.now()))

    async with sweeping(harness, fed):
        found = await fed.next()

    assert found == {ann}


async def test_new_partitions_are_swept_at_once_however_young_their_mail(
    harness: MailStoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "SWEEP_SECONDS", 3600)
    ann, fed = await harness.add_mailbox(), RecordingDepositor()
    async with sweeping(harness, fed) as sweeper:
        await asyncio.sleep(0.01)
        await harness.post(make_message(ann))

        sweeper.request_sweep()

        assert await fed.next() == {ann}


async def test_numbered_envelopes_past_their_expiry_become_losses(harness: MailStoreHarness) -> None:
    ann, fed = await harness.add_mailbox(), RecordingDepositor()
    await harness.post(make_message(ann, lifetime=timedelta(seconds=5)))
    await harness.store.deposit([ann])
    harness.clock.advance(seconds=6)
    gone = asyncio.Event()

    async def look() -> int:
        if await harness.registry.count_contents() == 0:
            gone.set()
        return 0

    async with sweeping(harness, fed, [PeriodicTask("look", 0.01, look)]), asyncio.timeout(5):
        await gone.wait()


async def test_a_chore_with_more_to_do_goes_on_at_once(harness: MailStoreHarness) -> None:
    batches, done = iter([1000, 1000, 3]), asyncio.Event()

    async def work() -> int:
        count = next(batches)
        if count == 3:
            done.set()
        return count

    async with sweeping(harness, RecordingDepositor(), [PeriodicTask("work", 3600, work)]), asyncio.timeout(5):
        await done.wait()


@pytest.mark.parametrize("problem", [Unavailable(), ValueError("a bug")], ids=["away", "bug"])
async def test_a_chore_that_fails_is_tried_again_and_ends_nothing(
    harness: MailStoreHarness, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "ERROR_RETRY_SECONDS", 0.01)
    calls, again = [], asyncio.Event()

    async def work() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise problem
        again.set()
        return 0

    async with sweeping(harness, RecordingDepositor(), [PeriodicTask("work", 0.01, work)]), asyncio.timeout(5):
        await again.wait()
