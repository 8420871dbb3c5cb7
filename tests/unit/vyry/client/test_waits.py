"""Waits measure progress, and say what they wait for; another process asks for the lock of a profile."""

import asyncio
from pathlib import Path

import pytest

from vyry.client.api.profile_lock import acquire_profile_lock, watch_requests
from vyry.client.errors import StoreLocked, Unreachable
from vyry.client.store.database import lock_store
from vyry.client.transport.waits import DEFAULT_WAITS, ProgressTimer, Waits


async def test_bytes_are_progress_and_pings_are_none() -> None:
    progress = ProgressTimer()
    async with progress.limit_wait(Waits(seconds=1_000), lambda: "still"):
        (limit,) = progress._limits
        first = limit.when()
        progress.add_bytes(2)
        after_a_ping = limit.when()
        progress.add_bytes(600)
        after_a_page = limit.when()

    assert first is not None
    assert after_a_page is not None
    assert (after_a_ping, after_a_page > first) == (first, True)


async def test_a_wait_without_progress_ends_and_says_why() -> None:
    with pytest.raises(Unreachable, match="still"):
        async with ProgressTimer().limit_wait(Waits(seconds=0.01), lambda: "still"):
            await asyncio.Event().wait()


async def test_a_turn_is_refused_at_once_unless_one_waits_for_it(tmp_path: Path) -> None:
    store = tmp_path / "vyry.db"
    with lock_store(store):
        for waits in (DEFAULT_WAITS, Waits(seconds=0.1)):
            with pytest.raises(StoreLocked, match="in use by another process"):
                await acquire_profile_lock(store, waits)

    (await acquire_profile_lock(store, DEFAULT_WAITS)).close()


async def test_whoever_follows_hears_that_another_one_waits_and_gives_way(tmp_path: Path) -> None:
    store = tmp_path / "vyry.db"
    lock = lock_store(store)

    with watch_requests(tmp_path, lock.close):
        (await acquire_profile_lock(store, Waits(seconds=20))).close()

    assert not (tmp_path / "vyry.db.asked").exists()
