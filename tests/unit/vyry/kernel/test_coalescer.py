"""The coalescer: every item is handled, in order and in bounded batches, whatever becomes of the loop."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.kernel.coalescer import Coalescer


class HandlerError(Exception):
    """What a handler raises."""


async def test_a_loop_waits_for_the_first_item_and_takes_what_gathered_meanwhile() -> None:
    waiting: Coalescer[int] = Coalescer()
    batches: asyncio.Queue[list[int]] = asyncio.Queue()
    go = asyncio.Event()

    async def handle(batch: list[int]) -> None:
        batches.put_nowait(batch)
        await go.wait()

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(waiting.run(handle))
        await asyncio.sleep(0)
        waiting.add(1)
        first = await batches.get()
        waiting.update([2, 3, 2, 1])
        go.set()
        second = await batches.get()
        loop.cancel()

    assert (first, second) == ([1], [2, 3, 1])


async def test_a_batch_whose_handler_raises_waits_in_front_of_the_others() -> None:
    waiting: Coalescer[int] = Coalescer(2)
    waiting.update([1, 2, 3])

    async def fail(_: list[int]) -> None:
        waiting.update([4, 1])
        raise HandlerError

    with pytest.raises(HandlerError):
        await waiting.run(fail)

    assert [waiting.take() for _ in range(3)] == [[1, 2], [3, 4], []]


async def test_a_cancelled_loop_leaves_its_batch_to_the_next_one() -> None:
    waiting: Coalescer[int] = Coalescer()
    waiting.update([1, 2])
    is_handling = asyncio.Event()

    async def hang(_: list[int]) -> None:
        is_handling.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(waiting.run(hang))
        await is_handling.wait()
        waiting.add(3)
        loop.cancel()

    assert (1 in waiting, len(waiting), waiting.take()) == (True, 3, [1, 2, 3])


async def test_a_cancelled_wait_takes_nothing() -> None:
    waiting: Coalescer[int] = Coalescer()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await waiting.wait()
    waiting.update(())
    waiting.add(1)
    await waiting.wait()

    assert waiting.take() == [1]


async def test_a_batch_can_be_smaller_than_the_bound() -> None:
    waiting: Coalescer[int] = Coalescer(3)
    waiting.update(range(5))

    assert [waiting.take(2), waiting.take(), waiting.take()] == [[0, 1], [2, 3, 4], []]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 20), max_size=6)),
        st.tuples(st.just("handle"), st.sampled_from(["done", "raise", "cancel"])),
    ),
    max_size=40,
)


@given(steps=STEPS, bound=st.none() | st.integers(1, 4))
def test_nothing_is_lost_reordered_or_handled_in_too_large_a_batch(
    steps: list[tuple[str, object]], bound: int | None
) -> None:
    async def history() -> None:
        waiting: Coalescer[int] = Coalescer(bound)
        model: list[int] = []
        for name, argument in steps:
            if name == "add":
                assert isinstance(argument, list)
                waiting.update(argument)
                model += [item for item in dict.fromkeys(argument) if item not in model]
                continue
            expected = model[: bound or len(model)]
            assert await _run_once(waiting, str(argument)) == (expected or None)
            if argument == "done":
                del model[: len(expected)]
        assert len(waiting) == len(model)
        left: list[int] = []
        while batch := waiting.take():
            left += batch
        assert left == model

    asyncio.run(history())


async def _run_once(waiting: Coalescer[int], outcome: str) -> list[int] | None:
    """One turn of a loop that ends with its first batch; returns the batch, None if nothing waits."""
    seen: list[int] | None = None

    async def handle(batch: list[int]) -> None:
        nonlocal seen
        if seen is not None:
            raise HandlerError
        seen = batch
        if outcome == "raise":
            raise HandlerError
        if outcome == "cancel":
            raise asyncio.CancelledError

    with suppress(HandlerError, asyncio.CancelledError, TimeoutError):
        async with asyncio.timeout(0):
            await waiting.run(handle)
    return seen
