"""Presence over two web nodes: shown to friends only, and ended when the node dies."""

import asyncio

import aiohttp

from scripts.nodes import Cluster, WebProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Body, Device, NodeClient


async def befriend(one: Device, other: Device) -> None:
    for asker, asked in ((one, other), (other, one)):
        await asker.call("POST", "/friends/requests", {"userId": asked.user_id})


async def show(device: Device, *, is_shown: bool = True) -> None:
    await device.call("PATCH", "/account", {"settings": {"showPresence": is_shown}})


async def watching(device: Device, url: str, *watched: Device) -> DeviceSocket:
    line = await DeviceSocket.connect_and_resume(device, url)
    await line.send("watch", userIds=[each.user_id for each in watched])
    await line.request("ping")
    return line


async def next_presence(line: DeviceSocket, seconds: float = 20) -> Body:
    """The next that this line is told of somebody's presence."""
    async with asyncio.timeout(seconds):
        frame = await line.frames.get()
    assert frame["type"] == "presence"
    return {frame["payload"]["userId"]: frame["payload"]["isOnline"]}


async def wait_for_presence(line: DeviceSocket, person: Device) -> None:
    """Comes back when this line was told that the person is there: who watches just then may hear that they are not, first."""
    while await next_presence(line) != {person.user_id: True}:
        pass


async def friends(nodes: list[NodeClient]) -> tuple[Device, Device]:
    """Ann, who shows her presence, at the first node, and Bo at the second."""
    ann, bo = await nodes[0].sign_up(with_keys=False), await nodes[1].sign_up(with_keys=False)
    await befriend(ann, bo)
    await show(ann)
    return ann, bo


async def test_a_friend_at_the_other_node_is_told_who_comes_and_goes(nodes: list[NodeClient]) -> None:
    ann, bo = await friends(nodes)
    bos = await watching(bo, nodes[1].url, ann)
    assert await next_presence(bos) == {ann.user_id: False}

    anns = await DeviceSocket.connect_and_resume(ann, nodes[0].url)
    assert await next_presence(bos) == {ann.user_id: True}
    await anns.close()

    assert await next_presence(bos) == {ann.user_id: False}
    await bos.close()


async def test_whoever_stops_showing_it_or_blocks_is_gone_at_once(nodes: list[NodeClient]) -> None:
    ann, bo = await friends(nodes)
    anns, bos = await DeviceSocket.connect_and_resume(ann, nodes[0].url), await watching(bo, nodes[1].url, ann)
    await wait_for_presence(bos, ann)

    await show(ann, is_shown=False)
    assert await next_presence(bos) == {ann.user_id: False}
    await show(ann)
    assert await next_presence(bos) == {ann.user_id: True}
    await ann.call("PUT", f"/blocks/{bo.user_id}")
    assert await next_presence(bos) == {ann.user_id: False}

    for line in (anns, bos):
        await line.close()


async def test_nobody_else_is_told_anything(nodes: list[NodeClient]) -> None:
    ann, bo = await friends(nodes)
    cy, di = await nodes[1].sign_up(with_keys=False), await nodes[1].sign_up(with_keys=False)
    await befriend(di, cy)
    lines = [await DeviceSocket.connect_and_resume(di, nodes[0].url), await watching(cy, nodes[1].url, ann, di)]
    bos = await watching(bo, nodes[1].url, ann)
    assert await next_presence(bos) == {ann.user_id: False}

    anns = await DeviceSocket.connect_and_resume(ann, nodes[0].url)
    assert await next_presence(bos) == {ann.user_id: True}
    await lines[1].request("ping")

    assert lines[1].frames.empty()
    for line in (*lines, anns, bos):
        await line.close()


async def test_whose_node_is_killed_is_offline_when_its_lease_ends(
    running_cluster: Cluster, nodes: list[NodeClient], http: aiohttp.ClientSession
) -> None:
    shared = {name: value for name, value in running_cluster.webs[0].environment.items() if not name.endswith("_PORT")}
    with WebProcess(shared | {"VYRY_PRESENCE_SECONDS": "4"}) as doomed:
        ann, bo = await friends([NodeClient(http, doomed.url, running_cluster.otp_file), nodes[1]])
        bos = await watching(bo, nodes[1].url, ann)
        assert await next_presence(bos) == {ann.user_id: False}
        anns = await DeviceSocket.connect_and_resume(ann, doomed.url)
        assert await next_presence(bos) == {ann.user_id: True}

        await asyncio.to_thread(doomed.kill)

        assert await next_presence(bos, 30) == {ann.user_id: False}
    for line in (anns, bos):
        await line.close()
