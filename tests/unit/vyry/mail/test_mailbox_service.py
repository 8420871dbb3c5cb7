"""The mailbox service: pages, and acknowledgements that share a transaction without answering for each other's mistakes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.fakes.mail import MemoryMailStore
from tests.support.fake_clock import FakeClock
from tests.support.mail_store_harness import MailStoreHarness, MemoryRegistry, contents_of, make_message
from vyry.errors import NotFound, StaleHead, Unavailable, VyryError
from vyry.kernel.ids import MailboxKey, UserId
from vyry.mail.mailbox import MAX_PAGE_BYTES, MAX_PENDING_ACKNOWLEDGEMENTS, Mailboxes
from vyry.mail.store import Acknowledgement, Cursor, MailboxCaps


class CountingStore(MemoryMailStore):
    """Counts the transactions that acknowledge, and may be away."""

    def __init__(self) -> None:
        super().__init__(FakeClock(), MailboxCaps())
        self.batches: list[list[tuple[MailboxKey, int]]] = []
        self.is_away = False

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        self.batches.append([(point.mailbox, point.seq) for point in points])
        if self.is_away:
            raise Unavailable
        return await super().acknowledge(points)


@dataclass
class MailboxServiceHarness:
    """A mailbox service over a counting store, and its mailboxes."""

    store: CountingStore
    harness: MailStoreHarness
    mailboxes: Mailboxes
    heads: dict[MailboxKey, list[bytes]] = field(default_factory=dict)

    async def box(self, count: int) -> MailboxKey:
        """A mailbox with so many numbered entries."""
        box = await self.harness.add_mailbox()
        self.heads[box] = [
            row.head for row in await self.harness.post_and_deposit(box, *(b"%d" % n for n in range(1, count + 1)))
        ]
        return box

    def point(self, box: MailboxKey, seq: int, *, wrong: bool = False, sent: int = 1000) -> Acknowledgement:
        return Acknowledgement(box, seq, bytes(32) if wrong else self.heads[box][seq - 1], sent)

    async def answers(self, *points: Acknowledgement) -> list[Cursor | VyryError]:
        """What each of these is answered, asked all at once."""
        futures: list[asyncio.Future[Cursor | VyryError]] = [asyncio.get_running_loop().create_future() for _ in points]
        for point, future in zip(points, futures, strict=True):
            self.mailboxes.acknowledge(point, future.set_result)
        return await asyncio.gather(*futures)


@asynccontextmanager
async def open_service() -> AsyncIterator[MailboxServiceHarness]:
    store = CountingStore()
    mailboxes = Mailboxes(store)
    work = asyncio.create_task(mailboxes.run())
    yield MailboxServiceHarness(store, MailStoreHarness("", store, MemoryRegistry(store.state), FakeClock()), mailboxes)
    work.cancel()


@pytest.fixture
async def service() -> AsyncIterator[MailboxServiceHarness]:
    async with open_service() as opened:
        yield opened


async def test_acknowledgements_of_many_mailboxes_share_one_transaction(service: MailboxServiceHarness) -> None:
    boxes = [await service.box(2) for _ in range(20)]

    answers = await service.answers(*(service.point(box, 2) for box in boxes))

    assert answers == [Cursor(2, service.heads[box][1]) for box in boxes]
    assert len(service.store.batches) == 1


async def test_the_highest_point_answers_for_the_lower_ones(service: MailboxServiceHarness) -> None:
    box = await service.box(5)

    answers = await service.answers(*(service.point(box, seq) for seq in (1, 4, 2)))

    assert answers == [Cursor(4, service.heads[box][3])] * 3
    assert service.store.batches == [[(box, 4)]]
    assert [entry.seq for entry in await service.harness.numbered_entries(box)] == [5]


async def test_a_wrong_point_is_refused_alone(service: MailboxServiceHarness) -> None:
    box, other = await service.box(5), await service.box(1)

    right, wrong, beyond, foreign = await service.answers(
        service.point(box, 2), service.point(box, 4, wrong=True), service.point(box, 5, sent=3), service.point(other, 1)
    )

    assert right == Cursor(2, service.heads[box][1])
    assert isinstance(wrong, StaleHead)
    assert isinstance(beyond, StaleHead)
    assert foreign == Cursor(1, service.heads[other][0])
    assert [entry.seq for entry in await service.harness.numbered_entries(box)] == [3, 4, 5]


async def test_nobody_waits_for_the_wrong_points_of_another(service: MailboxServiceHarness) -> None:
    guesser, other = await service.box(2), await service.box(1)
    wrong = [service.point(guesser, 2, wrong=True)] * 50
    for point in wrong:
        service.mailboxes.acknowledge(point, lambda said: None)

    await service.mailboxes.acknowledge_and_wait(service.point(other, 1))

    assert len(service.store.batches) == 1


async def test_the_present_point_and_lower_ones_change_nothing(service: MailboxServiceHarness) -> None:
    box = await service.box(3)
    cursor = await service.mailboxes.acknowledge_and_wait(service.point(box, 2))

    answers = [
        await service.mailboxes.acknowledge_and_wait(point)
        for point in (service.point(box, 2), service.point(box, 1, wrong=True))
    ]

    assert answers == [cursor, cursor]


async def test_the_present_number_with_a_wrong_head_is_a_stale_head(service: MailboxServiceHarness) -> None:
    box = await service.box(3)
    cursor = await service.mailboxes.acknowledge_and_wait(service.point(box, 2))

    with pytest.raises(StaleHead) as refused:
        await service.mailboxes.acknowledge_and_wait(service.point(box, 2, wrong=True))

    assert refused.value.members == {"cursor": cursor}


async def test_a_refusal_names_the_acknowledged_point(service: MailboxServiceHarness) -> None:
    box = await service.box(3)
    cursor = await service.mailboxes.acknowledge_and_wait(service.point(box, 1))

    with pytest.raises(StaleHead) as refused:
        await service.mailboxes.acknowledge_and_wait(service.point(box, 3, wrong=True))

    assert refused.value.members == {"cursor": cursor}


async def test_a_mailbox_that_is_no_more_is_not_found(service: MailboxServiceHarness) -> None:
    with pytest.raises(NotFound):
        await service.mailboxes.acknowledge_and_wait(Acknowledgement(MailboxKey(99), 1, bytes(32), 1))


async def test_when_the_database_is_away_all_are_told_and_later_ones_go_through(service: MailboxServiceHarness) -> None:
    boxes = [await service.box(1) for _ in range(3)]
    service.store.is_away = True

    told = await service.answers(*(service.point(box, 1) for box in boxes))
    service.store.is_away = False
    after = await service.answers(*(service.point(box, 1) for box in boxes))

    assert [type(answer) for answer in told] == [Unavailable] * 3
    assert [type(answer) for answer in after] == [Cursor] * 3


async def test_a_flood_of_acknowledgements_is_bounded(service: MailboxServiceHarness) -> None:
    box = await service.box(1)
    for _ in range(MAX_PENDING_ACKNOWLEDGEMENTS):
        service.mailboxes.acknowledge(service.point(box, 1), lambda said: None)

    with pytest.raises(Unavailable):
        service.mailboxes.acknowledge(service.point(box, 1), lambda said: None)


async def test_a_page_starts_behind_the_later_of_both_points(service: MailboxServiceHarness) -> None:
    box = await service.box(5)
    await service.mailboxes.acknowledge_and_wait(service.point(box, 2))

    behind = await service.mailboxes.page(box, 0, 2)
    ahead = await service.mailboxes.page(box, 4, 2)

    assert ([entry.seq for entry in behind.entries], behind.is_drained) == ([3, 4], False)
    assert ([entry.seq for entry in ahead.entries], ahead.is_drained) == ([5], True)
    assert behind.state.acknowledged.seq == 2


async def test_beyond_the_end_is_a_stale_head_and_the_end_is_empty(service: MailboxServiceHarness) -> None:
    box = await service.box(2)

    with pytest.raises(StaleHead) as refused:
        await service.mailboxes.page(box, 3, 10)
    page = await service.mailboxes.page(box, 2, 10)

    assert refused.value.members["cursor"] == page.state.acknowledged
    assert (page.entries, page.is_drained) == ([], True)


async def test_what_a_page_returned_may_be_acknowledged(service: MailboxServiceHarness) -> None:
    box = await service.box(3)
    await service.mailboxes.page(box, 0, 2)

    cursor = await service.mailboxes.acknowledge_and_wait(service.point(box, 2, sent=0))
    with pytest.raises(StaleHead):
        await service.mailboxes.acknowledge_and_wait(service.point(box, 3, sent=0))

    assert cursor.seq == 2


async def test_a_page_is_bounded_in_bytes_but_never_empty(service: MailboxServiceHarness) -> None:
    box = await service.harness.add_mailbox()
    large = bytes(MAX_PAGE_BYTES // 2 + 1)
    await service.harness.post(
        make_message(box, text=bytes(MAX_PAGE_BYTES + 1)), make_message(box, text=large), make_message(box, text=large)
    )
    await service.store.deposit([box])

    pages = [await service.mailboxes.page(box, after, 10) for after in range(3)]

    assert [len(page.entries) for page in pages] == [1, 1, 1]
    assert [page.is_drained for page in pages] == [False, False, True]


async def test_an_ended_mailbox_has_no_pages(service: MailboxServiceHarness) -> None:
    box = await service.harness.add_mailbox(UserId(uuid4()))
    await service.harness.registry.end_mailbox(box)

    with pytest.raises(NotFound):
        await service.mailboxes.page(box, 0, 1)


async def test_a_parked_entry_comes_as_a_loss_and_an_unknown_one_is_not_found(service: MailboxServiceHarness) -> None:
    box = await service.box(2)

    await service.mailboxes.discard(box, 1)
    with pytest.raises(NotFound):
        await service.mailboxes.discard(box, 3)

    assert contents_of((await service.mailboxes.page(box, 0, 9)).entries) == [None, b"2"]
