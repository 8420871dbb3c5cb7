"""Waits count what has moved, and say what they wait for; a turn with a profile is asked for."""

import asyncio
from pathlib import Path

import pytest

from vyry.client.database import lock_store
from vyry.client.refusals import StoreLocked, Unreachable
from vyry.client.turns import asked_for, take_turn
from vyry.client.waits import NO_HURRY, Progress, Waits


async def test_bytes_are_progress_and_pings_are_none() -> None:
    progress = Progress()
    async with progress.within(Waits(seconds=1_000), lambda: "still"):
        (limit,) = progress._limits
        first = limit.when()
        progress.carried(2)
        after_a_ping = limit.when()
        progress.carried(600)
        after_a_page = limit.when()

    assert first is not None
    assert after_a_page is not None
    assert (after_a_ping, after_a_page > first) == (first, True)


async def test_a_wait_without_progress_ends_and_says_why() -> None:
    with pytest.raises(Unreachable, match="still"):
        async with Progress().within(Waits(seconds=0.01), lambda: "still"):
            await asyncio.Event().wait()


async def test_a_turn_is_refused_at_once_unless_one_waits_for_it(tmp_path: Path) -> None:
    store = tmp_path / "vyry.db"
    with lock_store(store):
        for waits in (NO_HURRY, Waits(seconds=0.1)):
            with pytest.raises(StoreLocked, match="Another process"):
                await take_turn(store, waits)

    (await take_turn(store, NO_HURRY)).close()


async def test_whoever_follows_hears_that_another_one_waits_and_gives_way(tmp_path: Path) -> None:
    store = tmp_path / "vyry.db"
    lock = lock_store(store)

    with asked_for(tmp_path, lock.close):
        (await take_turn(store, Waits(seconds=20))).close()

    assert not (tmp_path / "vyry.db.asked").exists()
