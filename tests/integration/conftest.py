"""A node in the test's own process, over SQLite alone and over PostgreSQL with Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.node_server import NodeBackends, NodeServer, open_node_server


@pytest.fixture(params=["sqlite", "postgres"])
def node_backends(request: pytest.FixtureRequest, tmp_path: Path) -> NodeBackends:
    """Services of this test's own, in both sizes."""
    if request.param == "sqlite":
        return NodeBackends(request.getfixturevalue("sqlite_url"), None, tmp_path)
    return NodeBackends(request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url"), tmp_path)


@pytest.fixture
async def node_server(node_backends: NodeBackends) -> AsyncIterator[NodeServer]:
    """A node in either size."""
    async with open_node_server(node_backends) as opened:
        yield opened


@pytest.fixture
async def sqlite_node_server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[NodeServer]:
    """A node on SQLite: for what does not depend on the services below."""
    async with open_node_server(NodeBackends(sqlite_url, None, tmp_path)) as opened:
        yield opened
