"""Limits hold over all nodes together: two more front doors of the cluster, with their limits on."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import aiohttp
import pytest

from scripts.nodes import Cluster, Web
from tests.client import Device, Node, Refused


#: Each process keeps its own port and folder.
OWN = ("SERVER_PORT", "VYRY_ADMIN_PORT", "VYRY_DATA_DIR")
#: Everybody here signs up from one address; posts come back so slowly that none does during a test.
LIMITS = {"VYRY_LIMITS": "on", "VYRY_LIMIT_OTP_NETWORK": "1000/60", "VYRY_LIMIT_POST": "60/6000"}


@pytest.fixture(scope="module")
def limited(installation: Cluster) -> Iterator[list[Web]]:
    """Two front doors that count."""
    shared = {name: value for name, value in installation.webs[0].environment.items() if name not in OWN}
    with ExitStack() as stack:
        yield [stack.enter_context(Web(shared | LIMITS)) for _ in range(2)]


@pytest.fixture
def doors(limited: list[Web], installation: Cluster, http: aiohttp.ClientSession) -> list[Node]:
    return [Node(http, web.url, installation.otp_file) for web in limited]


async def dial(device: Device, door: Node) -> aiohttp.ClientWebSocketResponse:
    return await door.http.ws_connect(f"{door.url}/api/v1/ws", headers={"Authorization": f"Bearer {device.token}"})


async def test_posts_by_turns_on_two_nodes_are_no_more_than_on_one(doors: list[Node]) -> None:
    ann, bo = await doors[0].sign_up(), await doors[0].sign_up()
    conversation = await ann.open_direct(bo)
    await ann.learn(bo.user_id)

    granted = 0
    for number in range(80):
        body = ann.body_of(conversation, [bo.user_id], b"%d" % number)
        with suppress(Refused):
            await doors[number % 2].call("POST", "/messages", body, ann.token)
            granted += 1

    # What two nodes can grant within the moment in which they have not told each other.
    assert 60 <= granted <= 70


async def test_sockets_on_two_nodes_are_no_more_than_on_one(doors: list[Node]) -> None:
    ann = await doors[0].sign_up(with_keys=False)
    sockets = [await dial(ann, doors[number % 2]) for number in range(6)]

    for door in doors:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial(ann, door)
        assert refused.value.status == 429
    await asyncio.gather(*(socket.close() for socket in sockets))
