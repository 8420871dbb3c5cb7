"""What every store of calls promises: see CallStore."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.fakes.calls import MemoryCalls
from vyry.errors import RateLimited
from vyry.kernel.ids import DeviceId, UserId, new_id
from vyry.signals.call_store import CALL_RETENTION, MAX_RINGING, RING_TIMEOUT, UNANSWERED, Call, CallKey, CallStore
from vyry.storage.calls import TortoiseCalls
from vyry.storage.database import connection, open_database
from vyry.storage.raw_sql import fetch, to_uuid


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANN, BO = UserId(new_id()), UserId(new_id())
ONE, TWO = DeviceId(1), DeviceId(2)


@dataclass
class CallStoreHarness:
    store: CallStore
    #: Whose devices were told that they missed what.
    missed: Callable[[], Awaitable[list[CallKey]]]

    async def call(self, caller: UserId = ANN, callee: UserId = BO) -> CallKey:
        """A call that rings."""
        key = CallKey(new_id(), caller, callee)
        await self.store.start_ringing(Call(key, ONE), NOON)
        return key

    async def taken_by(self, key: CallKey) -> DeviceId | None:
        call = await self.store.find(key)
        assert call is not None
        return call.answered_by


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[CallStoreHarness]:
    if url is None:
        memory = MemoryCalls()

        async def told() -> list[CallKey]:
            return memory.missed

        yield CallStoreHarness(memory, told)
        return
    async with open_database(url):
        yield CallStoreHarness(TortoiseCalls(), notices)


async def notices() -> list[CallKey]:
    rows = await fetch(connection(), "SELECT account_id, audience, body FROM notice ORDER BY id")
    return [_missed(row) for row in rows if row["audience"] == "own"]


def _missed(row: dict[str, Any]) -> CallKey:
    body = row["body"] if isinstance(row["body"], dict) else json.loads(row["body"])
    assert body["name"] == "callMissed"
    return CallKey(UUID(body["callId"]), UserId(UUID(body["userId"])), UserId(to_uuid(row["account_id"])))


@pytest.fixture
async def harness(mail_url: str | None) -> AsyncIterator[CallStoreHarness]:
    async with opened(mail_url) as harness:
        yield harness


async def test_a_call_rings_until_one_device_takes_it(harness: CallStoreHarness) -> None:
    key = await harness.call()
    assert await harness.taken_by(key) is None

    taken = [await harness.store.claim(key, device) for device in (TWO, ONE, TWO)]

    assert taken == [True, False, False]
    assert await harness.taken_by(key) == TWO
    assert not await harness.store.end(key, NOON, is_missed=True)
    assert await harness.missed() == []


async def test_of_many_that_answer_at_once_one_takes_it(harness: CallStoreHarness) -> None:
    key = await harness.call()

    taken = await asyncio.gather(*(harness.store.claim(key, DeviceId(number)) for number in range(1, 13)))

    assert sum(taken) == 1
    assert await harness.taken_by(key) == taken.index(True) + 1


async def test_what_is_not_known_is_neither_taken_nor_ended(harness: CallStoreHarness) -> None:
    key = await harness.call()

    for other in (replace(key, call_id=new_id()), key.reversed_key(), replace(key, callee=UserId(new_id()))):
        assert await harness.store.find(other) is None
        assert not await harness.store.claim(other, ONE)
        assert not await harness.store.end(other, NOON, is_missed=True)

    assert await harness.taken_by(key) is None
    assert await harness.missed() == []


async def test_an_ended_call_is_missed_once_and_taken_by_nobody(harness: CallStoreHarness) -> None:
    key, declined = await harness.call(), await harness.call()

    ends = await asyncio.gather(*(harness.store.end(key, NOON, is_missed=True) for _ in range(4)))
    await harness.store.end(declined, NOON, is_missed=False)

    assert sum(ends) == 1
    assert [await harness.taken_by(each) for each in (key, declined)] == [UNANSWERED, UNANSWERED]
    assert not await harness.store.claim(key, ONE)
    assert await harness.missed() == [key]


async def test_an_offer_said_again_changes_nothing(harness: CallStoreHarness) -> None:
    key = await harness.call()
    await harness.store.claim(key, TWO)

    await harness.store.start_ringing(Call(key, TWO), NOON + RING_TIMEOUT)

    call = await harness.store.find(key)
    assert call == Call(key, ONE, TWO)


async def test_nobody_has_more_calls_ringing_than_ten(harness: CallStoreHarness) -> None:
    calls = [await harness.call() for _ in range(MAX_RINGING)]

    with pytest.raises(RateLimited):
        await harness.call()
    await harness.call(BO, ANN)
    await harness.store.claim(calls[0], ONE)
    await harness.call()


async def test_of_many_calls_at_once_ten_ring(harness: CallStoreHarness) -> None:
    keys = [await harness.call() for _ in range(MAX_RINGING - 1)]
    # So that as many connections are there already as may be.
    await asyncio.gather(*(harness.store.find(key) for key in keys * 4))

    outcomes = await asyncio.gather(*(harness.call() for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(outcome, CallKey) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 19


async def test_what_rang_long_enough_is_missed(harness: CallStoreHarness) -> None:
    late, taken = await harness.call(), await harness.call()
    await harness.store.claim(taken, ONE)
    await harness.store.start_ringing(Call(CallKey(new_id(), ANN, BO), ONE), NOON + timedelta(seconds=1))

    assert await harness.store.expire_unanswered(NOON + RING_TIMEOUT - timedelta(milliseconds=1), 10) == []
    lapsed = await harness.store.expire_unanswered(NOON + RING_TIMEOUT, 10)

    assert lapsed == [Call(late, ONE, UNANSWERED)]
    assert await harness.store.expire_unanswered(NOON + RING_TIMEOUT, 10) == []
    assert await harness.missed() == [late]


async def test_two_sweepers_tell_of_each_missed_call_once(harness: CallStoreHarness) -> None:
    calls = [await harness.call() for _ in range(8)]

    swept = await asyncio.gather(*(harness.store.expire_unanswered(NOON + RING_TIMEOUT, 3) for _ in range(4)))
    rest = await harness.store.expire_unanswered(NOON + RING_TIMEOUT, 10)

    found = [call.key for calls in [*swept, rest] for call in calls]
    assert sorted(found, key=str) == sorted(calls, key=str) == sorted(await harness.missed(), key=str)


async def test_what_is_long_over_is_forgotten(harness: CallStoreHarness) -> None:
    key, other = await harness.call(), await harness.call()
    await harness.store.claim(key, ONE)

    assert await harness.store.delete_finished(NOON + CALL_RETENTION - timedelta(seconds=1), 10) == 0
    assert await harness.store.delete_finished(NOON + CALL_RETENTION, 1) == 1
    assert await harness.store.delete_finished(NOON + CALL_RETENTION, 10) == 1

    assert [await harness.store.find(each) for each in (key, other)] == [None, None]
