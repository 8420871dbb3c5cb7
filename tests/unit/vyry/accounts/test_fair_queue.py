"""The fair queue for hashing slots: accounts take turns, and an account delays only itself."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from vyry.errors import RateLimited, Unavailable
from vyry.in_process.fair_queue import FairQueue


ANN, BO, CY = UUID(int=1), UUID(int=2), UUID(int=3)


class Counter:
    """A queue for one slot, and the accounts in the order in which they got it."""

    def __init__(self, accounts: int = 10, each: int = 50) -> None:
        self.line = FairQueue(1, accounts, each)
        self.served: list[UUID] = []

    async def ask(self, account: UUID) -> None:
        async with self.line.acquire_slot(account):
            self.served.append(account)

    async def hold(self, stack: AsyncExitStack, *waiting: UUID) -> list[asyncio.Task[None]]:
        """Acquire the slot, and queue these accounts."""
        await stack.enter_async_context(self.line.acquire_slot(CY))
        tasks = [asyncio.create_task(self.ask(account)) for account in waiting]
        await asyncio.sleep(0)
        return tasks


async def test_an_account_that_asks_once_waits_for_one_turn_of_another_and_not_for_its_queue() -> None:
    counter = Counter()

    async with AsyncExitStack() as stack:
        waiting = await counter.hold(stack, *[ANN] * 50, BO, CY)
    await asyncio.gather(*waiting)

    assert counter.served[:4] == [ANN, BO, CY, ANN]
    assert counter.served.count(ANN) == 50


async def test_callers_of_one_account_have_their_turns_in_the_order_in_which_they_came() -> None:
    line, came = FairQueue(1, 10, 10), list[int]()

    async def ask(number: int) -> None:
        async with line.acquire_slot(ANN):
            came.append(number)

    await asyncio.gather(*(ask(number) for number in range(8)))

    assert came == list(range(8))


async def test_the_excess_of_an_account_is_refused_at_once_and_that_of_no_other() -> None:
    counter = Counter(each=3)

    async with AsyncExitStack() as stack:
        waiting = await counter.hold(stack, ANN, ANN, ANN)
        with pytest.raises(RateLimited) as refused:
            await counter.ask(ANN)
        waiting.append(asyncio.create_task(counter.ask(BO)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)

    assert refused.value.members == {"retry_after_seconds": 1}
    assert counter.served == [ANN, BO, ANN, ANN]


async def test_when_too_many_accounts_wait_another_is_told_so_and_those_that_wait_are_not() -> None:
    counter = Counter(accounts=2)

    async with AsyncExitStack() as stack:
        waiting = await counter.hold(stack, ANN, BO)
        with pytest.raises(Unavailable):
            await counter.ask(CY)
        waiting.append(asyncio.create_task(counter.ask(BO)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    await counter.ask(CY)

    assert counter.served == [ANN, BO, BO, CY]


async def test_the_wait_that_is_told_grows_with_the_accounts_and_with_how_long_places_are_held() -> None:
    line = FairQueue(2, 100, 1)
    line._mean_seconds = 0.5

    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(line.acquire_slot(ANN))
        waiting = [asyncio.ensure_future(line.acquire_slot(UUID(int=10 + each)).__aenter__()) for each in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited) as refused:
            line.check_capacity(UUID(int=10))

    assert refused.value.members == {"retry_after_seconds": 5}
    await asyncio.gather(*waiting[:2])
    for each in waiting[2:]:
        each.cancel()


async def test_who_is_cancelled_in_the_moment_of_being_served_passes_the_place_on() -> None:
    counter = Counter()

    async with AsyncExitStack() as stack:
        first, *others = await counter.hold(stack, ANN, ANN, BO)
    first.cancel()
    await asyncio.gather(*others)

    assert counter.served == [BO, ANN]
    assert first.cancelled()


async def test_hundreds_cancelled_at_once_leave_the_line_as_it_was() -> None:
    counter = Counter(each=2000)

    async with AsyncExitStack() as stack:
        waiting = await counter.hold(stack, *[ANN] * 1500)
        for each in waiting:
            each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await counter.ask(BO)

    assert counter.served == [BO]
    counter.line.check_capacity(ANN)
