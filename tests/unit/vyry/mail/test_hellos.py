"""Admission of hellos: few statements for many devices, a bound, a true wait, and one outcome for each hello."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from tests.fakes.mail import MemoryMailStore
from tests.support.fake_clock import FakeClock
from vyry.errors import NotFound, StaleHead, Unavailable
from vyry.in_process.routing import InProcessNotifier
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.mail import hellos
from vyry.mail.depositing import Depositor
from vyry.mail.hellos import FIRST_BATCH, MAX_BATCH, Hellos
from vyry.mail.routing import NodeSockets
from vyry.mail.store import ResumeInfo, ResumePoint


class SlowStore(MemoryMailStore):
    """Takes its time for each hello, as a database does whose disk is slow."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.seconds_a_hello = self.seconds_a_statement = 0.0
        self.is_away = False
        self.batches: list[int] = []
        self.has_begun = asyncio.Event()
        self.has_measured = asyncio.Event()

    async def open_mailboxes(self, points: Sequence[ResumePoint]) -> list[ResumeInfo | StaleHead | NotFound]:
        self.batches.append(len(points))
        self.has_begun.set()
        if len(self.batches) == 3:
            self.has_measured.set()
        await asyncio.sleep(self.seconds_a_statement + self.seconds_a_hello * len(points))
        if self.is_away:
            raise Unavailable("The database is unavailable.")
        assert len({point.mailbox for point in points}) == len(points)
        return await super().open_mailboxes(points)

    def add_boxes(self, count: int) -> list[MailboxKey]:
        """So many new mailboxes."""
        return [self.state.add_mailbox(UserId(uuid4()), DeviceId(1)) for _ in range(count)]


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@asynccontextmanager
async def running(store: SlowStore) -> AsyncIterator[Hellos]:
    sockets = NodeSockets()
    depositor = Depositor(store, notifier=InProcessNotifier(sockets), sockets=sockets)
    admission = Hellos(store, depositor)
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(loop()) for loop in (depositor.run, admission.run)]
        yield admission
        for loop in loops:
            loop.cancel()


def hello(box: MailboxKey, seq: int = 0) -> ResumePoint:
    return ResumePoint(box, seq, bytes(32) if seq else None)


async def test_a_storm_shares_a_few_statements_and_all_get_in(store: SlowStore) -> None:
    store.seconds_a_statement = 0.01
    boxes = store.add_boxes(3_000)

    async with running(store) as admission:
        found = await asyncio.gather(*(admission.open(hello(box)) for box in boxes))

    assert [each.state.mailbox for each in found] == boxes
    assert len(store.batches) < 20
    assert max(store.batches) <= MAX_BATCH
    assert admission.depth == 0


async def test_each_hello_has_its_own_outcome(store: SlowStore) -> None:
    good, stale = store.add_boxes(2)

    async with running(store) as admission:
        outcomes = await asyncio.gather(
            *(admission.open(point) for point in (hello(good), hello(stale, 4), hello(MailboxKey(99)))),
            return_exceptions=True,
        )

    assert [type(each) for each in outcomes] == [ResumeInfo, StaleHead, NotFound]


async def test_two_hellos_of_a_device_count_one_after_the_other(store: SlowStore) -> None:
    (box,) = store.add_boxes(1)

    async with running(store) as admission:
        found = await asyncio.gather(*(admission.open(hello(box)) for _ in range(5)))

    assert [each.state.connection for each in found] == [1, 2, 3, 4, 5]


async def test_more_than_the_database_carries_are_given_moments_of_their_own(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hellos, "MAX_WAIT_SECONDS", 0.5)
    store.seconds_a_hello = 0.005
    boxes = store.add_boxes(1_100)

    async with running(store) as admission:
        first = [asyncio.create_task(admission.open(hello(box))) for box in boxes[:200]]
        # The first statement measures nothing; after the second the rate is known: 200 a second.
        await store.has_measured.wait()
        late = await asyncio.gather(*(admission.open(hello(box)) for box in boxes[200:]), return_exceptions=True)
        await asyncio.gather(*first)

    refused = [each for each in late if isinstance(each, Unavailable)]
    waits = [int(str(each.members["retry_after_seconds"])) for each in refused]
    assert len(refused) > 700
    assert waits == sorted(waits)
    # 200 a second: the last of them has its turn about four seconds after the first.
    assert 3 <= waits[-1] - waits[0] <= 7
    assert store.batches[0] == FIRST_BATCH
    assert max(store.batches) < 100


async def test_a_quiet_time_makes_the_rate_unknown(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.seconds_a_hello = 0.005
    boxes = store.add_boxes(201)

    async with running(store) as admission:
        await asyncio.gather(*(admission.open(hello(box)) for box in boxes[:200]))
        monkeypatch.setattr(hellos, "MAX_WAIT_SECONDS", -1.0)
        with pytest.raises(Unavailable):
            await admission.open(hello(boxes[200]))
        monkeypatch.setattr(hellos, "MAX_WAIT_SECONDS", 0.0)
        monkeypatch.setattr(hellos, "FORGET_SECONDS", 0.0)
        await admission.open(hello(boxes[200]))

    assert admission.wait_seconds == 0


async def test_a_database_that_is_away_fails_all_that_wait_at_once_and_then_works_again(store: SlowStore) -> None:
    boxes = store.add_boxes(500)
    store.is_away, store.seconds_a_statement = True, 0.05

    async with running(store) as admission:
        failed = await asyncio.gather(*(admission.open(hello(box)) for box in boxes), return_exceptions=True)
        assert {type(each) for each in failed} == {Unavailable}
        assert len(store.batches) <= 3

        store.is_away = False
        found = await asyncio.gather(*(admission.open(hello(box)) for box in boxes))

    assert len(found) == 500
    assert admission.depth == 0


async def test_a_hello_whose_caller_is_gone_is_not_counted(store: SlowStore) -> None:
    kept, gone = store.add_boxes(2)
    store.seconds_a_statement = 0.05

    async with running(store) as admission:
        first = asyncio.create_task(admission.open(hello(kept)))
        await store.has_begun.wait()
        second = asyncio.create_task(admission.open(hello(gone)))
        await asyncio.sleep(0.01)
        second.cancel()
        await first
        await admission.open(hello(kept))

    assert store.state.mailboxes[gone].connection == 0
    assert admission.depth == 0
