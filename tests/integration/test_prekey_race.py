"""Prekeys under takers from everywhere, on PostgreSQL: nothing is handed out twice, whatever dies (faults.md K1, K2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from tests.contracts.key_room import IDENTITY, NOON, KeyRoom, handed_out, open_key_room, refill, upload
from vyry.accounts.account import Caller
from vyry.devices.keyset import Claimed, KeyState
from vyry.errors import Unavailable
from vyry.ids import MailboxKey


NOBODY = MailboxKey(0)
_KILL_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@pytest.fixture
async def room(postgres_url: str) -> AsyncIterator[KeyRoom]:
    async with open_key_room(postgres_url) as room:
        yield room


@pytest.fixture
async def bo(room: KeyRoom) -> Caller:
    return await room.device(await room.person())


async def test_of_400_takers_100_get_a_key_of_their_own(room: KeyRoom, bo: Caller) -> None:
    await room.prekeys.replace(bo, upload(range(1, 101), range(1, 101)), NOON)

    claims = await asyncio.gather(*(room.prekeys.claim(bo.user_id, None, NOBODY) for _ in range(400)))

    one_time, pq = handed_out(claims)
    assert sorted(one_time) == sorted(pq) == list(range(1, 101))
    assert len(claims) == 400
    assert (await state(room, bo)).last_resort_uses == 300


async def test_nothing_is_handed_out_twice_while_connections_die_and_keys_are_added(
    room: KeyRoom, bo: Caller, postgres_url: str
) -> None:
    await room.prekeys.replace(bo, upload(range(1, 51), range(1, 51)), NOON)
    claims: list[Claimed] = []
    died: list[Unavailable] = []

    async with asyncio.TaskGroup() as group:
        takers = [group.create_task(take(room, bo, claims, died)) for _ in range(20)]
        group.create_task(add_often(room, bo))
        group.create_task(kill_until(postgres_url, takers))

    one_time, pq = handed_out(claims)
    left = await state(room, bo)
    assert died
    assert len(one_time) == len(set(one_time))
    assert len(pq) == len(set(pq))
    assert not {key.id for key in left.one_time} & set(one_time)
    assert left.issued_through.one_time >= max(one_time)


async def take(room: KeyRoom, owner: Caller, claims: list[Claimed], died: list[Unavailable]) -> None:
    for _ in range(20):
        try:
            claims.append(await room.prekeys.claim(owner.user_id, None, NOBODY))
        except Unavailable as away:
            died.append(away)


async def add_often(room: KeyRoom, owner: Caller) -> None:
    for first in range(51, 301, 10):
        with suppress(Unavailable):
            more = range(first, first + 10)
            await room.prekeys.refill(owner, IDENTITY, refill(more, more), NOON)


async def kill_until(url: str, done: list[asyncio.Task[None]]) -> None:
    killer = await asyncpg.connect(url)
    while not all(task.done() for task in done):
        await killer.execute(_KILL_OTHERS)
        await asyncio.wait(done, timeout=0.05)
    await killer.close()


async def state(room: KeyRoom, owner: Caller) -> KeyState:
    found = await room.prekeys.state(owner.mailbox)
    assert found
    return found
