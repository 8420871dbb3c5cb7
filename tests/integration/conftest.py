"""A node in the test's own process, over SQLite alone and over PostgreSQL with Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live_house import House, Place, open_house


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Services of this test's own, in both sizes."""
    if request.param == "sqlite":
        return Place(request.getfixturevalue("sqlite_url"), None, tmp_path)
    return Place(request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url"), tmp_path)


@pytest.fixture
async def house(place: Place) -> AsyncIterator[House]:
    """A node in either size."""
    async with open_house(place) as opened:
        yield opened


@pytest.fixture
async def small_house(sqlite_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A node on SQLite: for what does not depend on the services below."""
    async with open_house(Place(sqlite_url, None, tmp_path)) as opened:
        yield opened
