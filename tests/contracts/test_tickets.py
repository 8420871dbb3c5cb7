"""Contract of Tickets."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.support.fake_clock import FakeClock
from vyry.accounts.sessions import Tickets
from vyry.errors import Unavailable
from vyry.in_process.tickets import InProcessTickets
from vyry.redis.connection import connect_redis
from vyry.redis.guard import RedisGuard
from vyry.redis.tickets import RedisTickets


SOON = timedelta(seconds=30)


@pytest.fixture(params=["in_process", "redis"])
async def tickets(request: pytest.FixtureRequest) -> AsyncIterator[Tickets]:
    if request.param == "in_process":
        yield InProcessTickets(FakeClock())
        return
    async with connect_redis(request.getfixturevalue("redis_url")) as redis:
        yield RedisTickets(RedisGuard(redis))


async def test_a_ticket_is_taken_once_even_by_many_at_once(tickets: Tickets) -> None:
    await tickets.save("a", b"\x00value", SOON)

    taken = await asyncio.gather(*(tickets.pop("a") for _ in range(20)))

    assert [value for value in taken if value is not None] == [b"\x00value"]


async def test_a_ticket_that_was_never_kept_is_nothing(tickets: Tickets) -> None:
    await tickets.save("a", b"value", SOON)

    assert await tickets.pop("b") is None
    assert await tickets.pop("a") == b"value"


async def test_a_ticket_of_one_process_ends_in_time_and_is_forgotten() -> None:
    clock = FakeClock()
    tickets = InProcessTickets(clock)
    await tickets.save("a", b"value", SOON)
    clock.current_time += SOON

    assert await tickets.pop("a") is None
    await tickets.save("b", b"value", SOON)
    clock.current_time += SOON
    await tickets.save("c", b"value", SOON)
    clock.current_time -= SOON / 2
    assert [await tickets.pop(key) for key in "bc"] == [None, b"value"]


async def test_a_ticket_ends_in_time(redis_url: str) -> None:
    async with connect_redis(redis_url) as redis:
        await RedisTickets(RedisGuard(redis)).save("a", b"value", SOON)

        assert 29_000 < await redis.pttl("vyry:ticket:a") <= 30_000


async def test_without_redis_tickets_are_unavailable() -> None:
    async with connect_redis("redis://127.0.0.1:9/0") as redis:
        away = RedisTickets(RedisGuard(redis))

        with pytest.raises(Unavailable):
            await away.save("a", b"value", SOON)
        with pytest.raises(Unavailable):
            await away.pop("a")


async def test_a_ticket_does_not_wait_for_what_failed_for_other_users_of_redis(redis_url: str) -> None:
    async def fail() -> None:
        raise ConnectionError

    async with connect_redis(redis_url) as redis:
        guard = RedisGuard(redis)
        await guard.call(fail)
        assert guard.seconds_until_retry > 0

        await RedisTickets(guard).save("a", b"value", SOON)

        assert guard.seconds_until_retry == 0
