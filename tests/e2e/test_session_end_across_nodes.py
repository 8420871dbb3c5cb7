"""Sessions that end on one node are over on the other within a second: access tokens, sockets, refresh tokens."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from scripts.nodes import Cluster
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Device, NodeClient, RequestRefused


async def log_out(device: Device) -> None:
    await device.call("POST", "/auth/logout")


async def delete_it(device: Device) -> None:
    await device.call("DELETE", f"/devices/{device.device_id}")


async def sign_up_again(device: Device) -> None:
    await device.node.sign_up(device.number)


async def use_its_refresh_token_twice(device: Device) -> None:
    body = {"refreshToken": device.session["refreshToken"]}
    await device.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})
    with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
        await device.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})


async def refused(node: NodeClient, device: Device) -> str:
    """Ask until this node refuses the device's access token; answers with which code."""
    while True:
        try:
            await node.call("GET", "/account", token=device.token)
        except RequestRefused as refusal:
            return str(refusal.code)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("end", [log_out, delete_it, sign_up_again, use_its_refresh_token_twice])
async def test_what_ends_here_is_over_there_within_a_second(
    nodes: list[NodeClient], end: Callable[[Device], Awaitable[None]]
) -> None:
    here, there = nodes
    device = await here.sign_up()
    line = await DeviceSocket.connect_and_resume(device, there.url)
    await there.call("GET", "/account", token=device.token)

    await end(device)
    ended_at = time.monotonic()

    refusal, close_code = await asyncio.gather(refused(there, device), line.wait_closed())

    assert time.monotonic() - ended_at < 1
    assert (refusal, close_code) == ("INVALID_TOKEN", 4401)
    body = {"refreshToken": device.session["refreshToken"], "attemptId": str(uuid.uuid4())}
    with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
        await there.call("POST", "/auth/refresh-token", body)


async def test_what_ends_here_is_over_there_within_a_second_also_without_redis(
    running_cluster: Cluster, nodes: list[NodeClient]
) -> None:
    here, there = nodes
    ends = {end: await here.sign_up() for end in (log_out, delete_it, use_its_refresh_token_twice)}
    lines = {end: await DeviceSocket.connect_and_resume(device, there.url) for end, device in ends.items()}
    running_cluster.redis.stop()
    try:
        for end, device in ends.items():
            await there.call("GET", "/account", token=device.token)
            await end(device)
            ended_at = time.monotonic()

            refusal, close_code = await asyncio.gather(refused(there, device), lines[end].wait_closed())

            assert time.monotonic() - ended_at < 1
            assert (refusal, close_code) == ("INVALID_TOKEN", 4401)
    finally:
        await asyncio.to_thread(running_cluster.redis.start)


async def test_of_parallel_exchanges_on_two_nodes_none_leaves_a_living_token(nodes: list[NodeClient]) -> None:
    device = await nodes[0].sign_up()
    token = device.session["refreshToken"]

    async def exchange(node: NodeClient) -> str | None:
        body = {"refreshToken": token, "attemptId": str(uuid.uuid4())}
        try:
            return str((await node.call("POST", "/auth/refresh-token", body))["refreshToken"])
        except RequestRefused:
            return None

    won = [each for each in await asyncio.gather(*(exchange(nodes[turn % 2]) for turn in range(10))) if each]

    assert len(won) == 1
    with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
        await nodes[1].call("POST", "/auth/refresh-token", {"refreshToken": won[0], "attemptId": str(uuid.uuid4())})
    assert await refused(nodes[0], device) == "INVALID_TOKEN"


async def test_a_ticket_is_dead_once_its_device_has_logged_out(nodes: list[NodeClient]) -> None:
    here, there = nodes
    device = await here.sign_up()
    ticket = (await device.call("POST", "/auth/ws-ticket"))["ticket"]
    await there.call("GET", "/account", token=device.token)

    await device.call("POST", "/auth/logout")
    await refused(there, device)

    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await there.http.ws_connect(f"{there.url}/api/v1/ws?ticket={ticket}")


async def test_of_many_who_take_one_ticket_on_two_nodes_one_gets_a_socket(nodes: list[NodeClient]) -> None:
    ticket = (await (await nodes[0].sign_up()).call("POST", "/auth/ws-ticket"))["ticket"]

    async def take(node: NodeClient) -> bool:
        try:
            async with node.http.ws_connect(f"{node.url}/api/v1/ws?ticket={ticket}"):
                return True
        except aiohttp.WSServerHandshakeError:
            return False

    assert sum(await asyncio.gather(*(take(nodes[turn % 2]) for turn in range(10)))) == 1


async def test_a_ticket_from_one_node_opens_one_socket_on_the_other(nodes: list[NodeClient]) -> None:
    here, there = nodes
    ticket = (await (await here.sign_up()).call("POST", "/auth/ws-ticket"))["ticket"]
    async with there.http.ws_connect(f"{there.url}/api/v1/ws?ticket={ticket}"):
        pass

    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await here.http.ws_connect(f"{here.url}/api/v1/ws?ticket={ticket}")
