"""Whole installations of real processes, started once for all end-to-end tests, and people to use them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess, Cluster, VyryProcess, open_cluster
from tests.support.hostile_rest_pair import RestPair, open_rest_pair
from tests.support.rest_device import NodeClient
from tests.support.traffic import Traffic, traffic


#: What every content of the traffic begins with: it must never be seen outside of mailboxes.
MARKED_CONTENT = "a-marked-ciphertext-that-nobody-may-keep"


@pytest.fixture(scope="session", autouse=True)
def kept_logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The logs of all nodes that have come and gone, for test_secrecy.py, which runs last."""
    VyryProcess.kept_logs = tmp_path_factory.mktemp("logs")
    yield VyryProcess.kept_logs
    VyryProcess.kept_logs = None


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """Two web nodes and two workers on services of their own, which tests may break and must mend."""
    with open_cluster(webs=2, workers=2) as made:
        yield made


@pytest.fixture(scope="session")
def all_in_one() -> Iterator[AllInOneProcess]:
    """`vyry start`."""
    with AllInOneProcess() as node:
        yield node


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=35)) as session:
        yield session


@pytest.fixture
def nodes(running_cluster: Cluster, http: aiohttp.ClientSession) -> list[NodeClient]:
    """The two web nodes of the cluster."""
    return [NodeClient(http, web.url, running_cluster.otp_file) for web in running_cluster.webs]


@pytest.fixture
async def steady_traffic(nodes: list[NodeClient]) -> AsyncIterator[Traffic]:
    """Steady traffic over both web nodes."""
    async with traffic(nodes, MARKED_CONTENT) as made:
        yield made


@pytest.fixture
async def rest_pair(all_in_one: AllInOneProcess, http: aiohttp.ClientSession) -> AsyncIterator[RestPair]:
    """Two devices of no SDK, one of them behind a lying node."""
    async with open_rest_pair(all_in_one, http) as made:
        yield made
