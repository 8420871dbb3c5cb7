"""A thief copies refresh tokens at any time; at most one of thief and owner has a valid token."""

import asyncio

from hypothesis import given

from tests.support.account_harness import open_stores
from tests.support.refresh_token_theft import TheftStep, max_live_tokens, theft_histories


@given(theft_histories)
def test_at_most_one_token_lives_whatever_victim_and_thief_do(history: list[TheftStep]) -> None:
    async def play() -> int:
        async with open_stores(None) as stores:
            return await max_live_tokens(history, stores, "first")

    assert asyncio.run(play()) <= 1
