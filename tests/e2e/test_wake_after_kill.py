"""A node that is killed between the accepted post and the push: after its restart the device is woken."""

import asyncio

import aiohttp
import pytest

from scripts.nodes import PUSH_PORT, Alone
from tests.client import Node
from tests.push_house import open_push_house


@pytest.mark.timeout(90)
async def test_a_wake_up_outlives_kill_9() -> None:
    async with open_push_house(PUSH_PORT) as services, aiohttp.ClientSession() as http:
        pushed = asyncio.Event()
        services.on_push = pushed.set
        subscription = services.subscribe()
        alone = Alone()
        try:
            await asyncio.to_thread(alone.start)
            node = Node(http, alone.url, alone.otp_file)
            ann, bo = await node.sign_up(), await node.sign_up()
            await ann.learn(bo.user_id)
            together = await ann.open_direct(bo)
            await bo.call("PUT", "/devices/current/push", subscription.body(services.url))
            await ann.post(together, bo, b"before the end")

            await asyncio.to_thread(alone.kill)
            before = services.asked
            await asyncio.to_thread(alone.start)
            async with asyncio.timeout(30):
                await pushed.wait()
        finally:
            await asyncio.to_thread(alone.remove)

    assert (before, services.pushed[0].content) == (0, b"{}")
