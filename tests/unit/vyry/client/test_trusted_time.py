"""A profile on a machine whose clock jumps ahead once loses nothing; one that was unused for long continues after 50 minutes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from vyry.client.store.store import DAY_MS, Store
from vyry.client.store.trusted_time import trusted_time
from vyry.client.sync.key_maintenance import KeyMaintenance
from vyry.client.transport.rest import RestClient


NOW = 1_000 * DAY_MS
HOUR = DAY_MS // 24


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened, opened.transaction():
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def said(store: Store) -> Store:
    """A store in use, with a message that is kept for 30 days."""
    store.put("said", "hello", b"hello", until=NOW + 30 * DAY_MS)
    return store


def sweep(store: Store, http: aiohttp.ClientSession, now: int) -> bool:
    """Whether the message is still there after an expiry run at that time."""
    KeyMaintenance(store, RestClient(http, "http://127.0.0.1:1", store), lambda: now).delete_expired()
    return store.get("said", "hello") is not None


async def test_a_clock_that_is_ahead_once_costs_nothing(said: Store, http: aiohttp.ClientSession) -> None:
    kept = [sweep(said, http, now) for now in (NOW, NOW + 100 * DAY_MS, NOW + 100 * DAY_MS + HOUR // 2, NOW + HOUR)]

    assert kept == [True] * 4
    assert trusted_time(said, NOW + HOUR) == NOW + HOUR


async def test_a_profile_that_was_unused_for_long_goes_on_an_hour_later(
    said: Store, http: aiohttp.ClientSession
) -> None:
    kept = [sweep(said, http, now) for now in (NOW, NOW + 100 * DAY_MS, NOW + 100 * DAY_MS + HOUR)]

    assert kept == [True, True, False]


async def test_after_days_without_use_what_is_over_goes_at_once(said: Store, http: aiohttp.ClientSession) -> None:
    kept = [sweep(said, http, NOW + days * DAY_MS) for days in (0, 7, 14, 21, 28, 32)]

    assert kept == [True, True, True, True, True, False]


async def test_a_second_jump_is_no_hour_that_passed(said: Store, http: aiohttp.ClientSession) -> None:
    kept = [
        sweep(said, http, now) for now in (NOW, NOW + 100 * DAY_MS, NOW + 50 * DAY_MS, NOW + 50 * DAY_MS + HOUR // 2)
    ]

    assert kept == [True] * 4
