"""Rate limits count over all nodes: two more web nodes of the cluster, with limits on."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import aiohttp
import pytest

from scripts.nodes import Cluster, WebProcess
from tests.support.rest_device import Body, Device, NodeClient, RequestRefused


#: Each process keeps its own port and folder.
OWN = ("SERVER_PORT", "VYRY_ADMIN_PORT", "VYRY_DATA_DIR")
#: Everybody here signs up from one address; posts come back so slowly that none does during a test.
LIMITS = {"VYRY_LIMITS": "on", "VYRY_LIMIT_OTP_NETWORK": "1000/60", "VYRY_LIMIT_POST": "60/6000"}


@pytest.fixture(scope="module")
def limited(running_cluster: Cluster) -> Iterator[list[WebProcess]]:
    """Two web nodes with rate limits."""
    shared = {name: value for name, value in running_cluster.webs[0].environment.items() if name not in OWN}
    with ExitStack() as stack:
        yield [stack.enter_context(WebProcess(shared | LIMITS)) for _ in range(2)]


@pytest.fixture
def limited_nodes(limited: list[WebProcess], running_cluster: Cluster, http: aiohttp.ClientSession) -> list[NodeClient]:
    return [NodeClient(http, web.url, running_cluster.otp_file) for web in limited]


async def dial(device: Device, door: NodeClient) -> aiohttp.ClientWebSocketResponse:
    return await door.http.ws_connect(f"{door.url}/api/v1/ws", headers={"Authorization": f"Bearer {device.token}"})


async def count_accepted_posts(
    limited_nodes: list[NodeClient], ann: Device, body_of: Callable[[], Body], count: int
) -> int:
    """How many of so many posts, by turns at these doors, are taken."""
    taken = 0
    for number in range(count):
        with suppress(RequestRefused):
            await limited_nodes[number % len(limited_nodes)].call("POST", "/messages", body_of(), ann.token)
            taken += 1
    return taken


async def until_left(limited_nodes: list[NodeClient], ann: Device, count: int) -> None:
    """Come back when the nodes have told each other that so many are left."""
    async with asyncio.timeout(10):
        while {await posts_left(door, ann) for door in limited_nodes} != {count}:
            pass


async def posts_left(door: NodeClient, ann: Device) -> int:
    """How many posts are left to Ann."""
    said = await door.call("GET", "/limits", None, ann.token)
    return int(next(each["remaining"] for each in said["limits"] if each["name"] == "post"))


async def test_posts_by_turns_on_two_nodes_are_no_more_than_on_one(limited_nodes: list[NodeClient]) -> None:
    ann, bo = await limited_nodes[0].sign_up(), await limited_nodes[0].sign_up()
    conversation = await ann.open_direct(bo)
    await ann.fetch_device_list(bo.user_id)

    def body_of() -> Body:
        return ann.build_post(conversation, [bo.user_id], b"x")

    assert await count_accepted_posts(limited_nodes, ann, body_of, 56) == 56
    await until_left(limited_nodes, ann, 4)
    # A node learns what the other took whenever it tells what it took itself.
    for number, door in enumerate(limited_nodes, 1):
        assert await count_accepted_posts([door], ann, body_of, 1) == 1
        await until_left(limited_nodes, ann, 4 - number)

    # The second node knows that two are left, the first one does not know of the last post of the other.
    assert 2 <= await count_accepted_posts(limited_nodes, ann, body_of, 20) <= 2 + 3


async def test_sockets_on_two_nodes_are_no_more_than_on_one(limited_nodes: list[NodeClient]) -> None:
    ann = await limited_nodes[0].sign_up(with_keys=False)
    sockets = [await dial(ann, limited_nodes[number % 2]) for number in range(6)]

    for door in limited_nodes:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial(ann, door)
        assert refused.value.status == 429
    await asyncio.gather(*(socket.close() for socket in sockets))
