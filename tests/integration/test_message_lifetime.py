"""How long mail lives at a node whose operator lets it live for an hour, and what a device sees of mail that disappeared: over REST and socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import aiohttp
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Device, NodeClient


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess({"VYRY_MAX_LIFE_SECONDS": "3600"}) as node:
        yield node


@pytest_asyncio.fixture
async def pair(alone: AllInOneProcess) -> AsyncIterator[tuple[Device, Device, str]]:
    async with aiohttp.ClientSession() as http:
        node = NodeClient(http, alone.url, alone.otp_file)
        ann, bo = await node.sign_up(), await node.sign_up()
        await ann.fetch_device_list(bo.user_id)
        yield ann, bo, await ann.open_direct(bo)


async def test_nobody_is_granted_a_longer_life_than_the_node_grants(pair: tuple[Device, Device, str]) -> None:
    ann, bo, together = pair
    line = await DeviceSocket.connect_and_resume(bo)

    for number, asked in enumerate(({}, {"expiresInSeconds": 2_592_000}, {"expiresInSeconds": 3599}), 1):
        await ann.call("POST", "/messages", ann.build_post(together, [bo.user_id], b"%d" % number, **asked))
        await line.wait_for_entries(number)
    await line.close()

    lives = [
        datetime.fromisoformat(each["expiresAt"]) - datetime.fromisoformat(each["postedAt"]) for each in bo.received
    ]
    assert lives == [timedelta(seconds=seconds) for seconds in (3600, 3600, 3599)]


async def test_what_disappeared_is_shown_as_a_number_without_content(pair: tuple[Device, Device, str]) -> None:
    ann, bo, together = pair
    for number, life in enumerate((1, 1, 60)):
        body = ann.build_post(together, [bo.user_id], b"%d" % number, expiresInSeconds=life)
        await ann.call("POST", "/messages", body)

    shown = await by_rest(bo, 2)
    bo.chain = None
    bo.received.clear()
    line = await DeviceSocket.connect_and_resume(bo)
    await line.wait_for_entries(2)
    await line.close()

    for entries in (shown, bo.received):
        assert [(each["seq"], each.get("throughSeq"), each.get("tombstone")) for each in entries] == [
            (1, 2, {"reason": "expired", "count": 2}),
            (3, None, None),
        ]
    assert bo.contents == [b"2"]


async def by_rest(device: Device, count: int) -> list[dict[str, object]]:
    """What the mailbox shows once this many entries are all it shows: nothing tells a device that something has expired."""
    async with asyncio.timeout(20):
        while True:
            device.chain = None
            device.received.clear()
            await device.collect(wait=1)
            if len(device.received) == count and device.received[-1]["seq"] == 3:
                return list(device.received)
            await asyncio.sleep(0.05)
