"""A node that is killed between the accepted post and the push: after its restart the device is woken."""

import asyncio

import aiohttp
import pytest

from scripts.nodes import PUSH_PORT, AllInOneProcess
from tests.support.push_server import open_push_server
from tests.support.rest_device import NodeClient


@pytest.mark.timeout(90)
async def test_a_wake_up_outlives_kill_9() -> None:
    async with open_push_server(PUSH_PORT) as services, aiohttp.ClientSession() as http:
        pushed = asyncio.Event()
        services.on_push = pushed.set
        subscription = services.subscribe()
        alone = AllInOneProcess()
        try:
            await asyncio.to_thread(alone.start)
            node = NodeClient(http, alone.url, alone.otp_file)
            ann, bo = await node.sign_up(), await node.sign_up()
            await ann.fetch_device_list(bo.user_id)
            together = await ann.open_direct(bo)
            await bo.call("PUT", "/devices/current/push", subscription.registration_body(services.url))
            await ann.post(together, bo, b"before the end")

            await asyncio.to_thread(alone.kill)
            before = services.request_count
            await asyncio.to_thread(alone.start)
            async with asyncio.timeout(30):
                await pushed.wait()
        finally:
            await asyncio.to_thread(alone.remove)

    assert (before, services.pushed[0].content) == (0, b"{}")
