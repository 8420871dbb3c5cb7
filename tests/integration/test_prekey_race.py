"""Prekeys under takers from everywhere, on PostgreSQL: nothing is handed out twice, whatever dies (faults.md K1, K2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from tests.support.directory_harness import (
    IDENTITY,
    NOON,
    DirectoryHarness,
    claimed_key_ids,
    make_refill,
    make_upload,
    open_directory,
)
from vyry.accounts.account import Caller
from vyry.devices.keyset import ClaimResult, KeyState
from vyry.errors import Unavailable
from vyry.kernel.ids import MailboxKey


NOBODY = MailboxKey(0)
_KILL_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class ConcurrentClaimers:
    """Takers that go on until every tenth claim was followed by the death of all connections, ten times."""

    def __init__(self, harness: DirectoryHarness, owner: Caller) -> None:
        self._room = harness
        self._owner = owner
        self._taken = asyncio.Semaphore(0)
        self._is_over = False
        self.claims: list[ClaimResult] = []
        self.died: list[Unavailable] = []

    async def claim_forever(self) -> None:
        """Claim, time and again."""
        while not self._is_over:
            try:
                self.claims.append(await self._room.prekeys.claim(self._owner.user_id, None, NOBODY))
                self._taken.release()
            except Unavailable as away:
                self.died.append(away)

    async def add(self) -> None:
        """Refill, time and again."""
        for first in range(51, 301, 10):
            with suppress(Unavailable):
                more = range(first, first + 10)
                await self._room.prekeys.refill(self._owner, IDENTITY, make_refill(more, more), NOON)

    async def kill(self, url: str) -> None:
        """End every connection but this one."""
        killer = await asyncpg.connect(url)
        for _ in range(10):
            for _ in range(10):
                await self._taken.acquire()
            await killer.execute(_KILL_OTHERS)
        self._is_over = True
        await killer.close()


@pytest.fixture
async def harness(postgres_url: str) -> AsyncIterator[DirectoryHarness]:
    async with open_directory(postgres_url) as harness:
        yield harness


@pytest.fixture
async def bo(harness: DirectoryHarness) -> Caller:
    return await harness.add_device(await harness.add_account())


async def test_of_400_takers_100_get_a_key_of_their_own(harness: DirectoryHarness, bo: Caller) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 101), range(1, 101)), NOON)

    # More than this many at once would wait longer for a connection than the node lets anybody wait, on a slow machine.
    gate = asyncio.Semaphore(100)

    async def take() -> ClaimResult:
        async with gate:
            return await harness.prekeys.claim(bo.user_id, None, NOBODY)

    claims = await asyncio.gather(*(take() for _ in range(400)))

    one_time, pq = claimed_key_ids(claims)
    assert sorted(one_time) == sorted(pq) == list(range(1, 101))
    assert len(claims) == 400
    assert (await state(harness, bo)).last_resort_uses == 300


async def test_nothing_is_handed_out_twice_while_connections_die_and_keys_are_added(
    harness: DirectoryHarness, bo: Caller, postgres_url: str
) -> None:
    await harness.prekeys.replace(bo, make_upload(range(1, 51), range(1, 51)), NOON)
    crowd = ConcurrentClaimers(harness, bo)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(crowd.claim_forever())
        group.create_task(crowd.add())
        group.create_task(crowd.kill(postgres_url))

    claims, died = crowd.claims, crowd.died
    one_time, pq = claimed_key_ids(claims)
    left = await state(harness, bo)
    assert died
    assert len(one_time) == len(set(one_time))
    assert len(pq) == len(set(pq))
    assert not {key.id for key in left.one_time} & set(one_time)
    assert left.issued_through.one_time >= max(one_time)


async def state(harness: DirectoryHarness, owner: Caller) -> KeyState:
    found = await harness.prekeys.state(owner.mailbox)
    assert found
    return found
