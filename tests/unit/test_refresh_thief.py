"""A thief copies refresh tokens at any moment; whatever the two do, at most one of them has a living token."""

import asyncio

from hypothesis import given

from tests.account_room import open_stores
from tests.refresh_thief import Move, living_after, moves


@given(moves)
def test_at_most_one_token_lives_whatever_victim_and_thief_do(history: list[Move]) -> None:
    async def play() -> int:
        async with open_stores(None) as stores:
            return await living_after(history, stores, "first")

    assert asyncio.run(play()) <= 1
