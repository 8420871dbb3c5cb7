"""What every store of the time promises: what it has seen never goes back by a note, and of two that settle one wins."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.clock import MemoryClock
from vyry.clock_monitor import ClockStore
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import open_database


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(milliseconds=1)


@pytest.fixture
async def store(mail_url: str | None) -> AsyncIterator[ClockStore]:
    if mail_url is None:
        yield MemoryClock()
        return
    async with open_database(mail_url):
        yield TortoiseClock()


async def test_a_new_store_has_seen_nothing(store: ClockStore) -> None:
    await store.record_claim(NOON)

    reading = await store.read()

    assert (reading.confirmed_at, reading.claimed_at) == (None, None)


async def test_what_was_seen_never_goes_back_by_a_note(store: ClockStore) -> None:
    for moment in (NOON, LATER, NOON):
        await store.record(moment)

    assert (await store.read()).confirmed_at == LATER


async def test_of_two_that_settle_what_was_seen_one_wins(store: ClockStore) -> None:
    await store.record(LATER)
    await store.record_claim(NOON)

    outcomes = [await store.replace_confirmed(LATER, NOON), await store.replace_confirmed(LATER, LATER)]

    reading = await store.read()
    assert outcomes == [True, False]
    assert (reading.confirmed_at, reading.claimed_at) == (NOON, None)


async def test_an_operator_confirms_whatever_was_seen_and_claimed(store: ClockStore) -> None:
    await store.force_confirmed(LATER)
    await store.record_claim(LATER)

    await store.force_confirmed(NOON)

    reading = await store.read()
    assert (reading.confirmed_at, reading.claimed_at) == (NOON, None)


async def test_a_claim_is_kept_beside_what_was_seen_until_it_is_taken_back(store: ClockStore) -> None:
    await store.record(NOON)
    await store.record_claim(LATER)
    claimed = await store.read()
    await store.record_claim(None)

    assert (claimed.confirmed_at, claimed.claimed_at) == (NOON, LATER)
    assert (await store.read()).claimed_at is None
