"""Theft of refresh tokens (tests/support/refresh_token_theft.py), over both databases."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.account_harness import open_stores
from tests.support.refresh_token_theft import TheftStep, max_live_tokens, theft_histories


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=theft_histories)
def test_at_most_one_token_lives_in_a_database_too(
    request: pytest.FixtureRequest, kind: str, history: list[TheftStep]
) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))

    async def play() -> int:
        async with open_stores(url) as stores:
            return await max_live_tokens(history, stores, uuid4().hex)

    assert asyncio.run(play()) <= 1
