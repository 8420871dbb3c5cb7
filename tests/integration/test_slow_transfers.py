"""Slow uploads and downloads do not keep the places of a node: a newcomer gets that of the slowest, which goes on where it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest

from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import Device
from tests.support.tus_client import TusResponse, append_bytes, create_upload, send_request, upload_file
from vyry.attachments.slots import GRACE_SECONDS, SMALL_BYTES, Slots


LARGE = 2 * SMALL_BYTES


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def slow(device: Device, path: str) -> TusResponse | None:
    """An upload that brings one byte and no more; None when it was cut off."""

    async def drip() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    with suppress(aiohttp.ClientError):
        return await append_bytes(device, path, 0, drip())
    return None


async def test_fifty_slow_uploads_give_way_and_go_on_where_they_were(sqlite_node_server: NodeServer) -> None:
    clock = Clock()
    slots = sqlite_node_server.services.attachments.service.uploads = Slots(50, 10, reserved=5, clock=clock)
    people = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(6)]
    paths = [(person, await create_upload(person, LARGE)) for person in people[:5] for _ in range(9)]
    tasks = [asyncio.create_task(slow(person, path)) for person, path in paths]
    await wait_until(lambda: sum(slot.speed > 0 for slot in slots._slots) == 45)
    clock.now += GRACE_SECONDS

    quick = [await upload_file(people[5], bytes(LARGE)) for _ in range(3)]
    await wait_until(lambda: any(task.done() for task in tasks))
    (ended,) = (pair for pair, task in zip(paths, tasks, strict=True) if task.done())

    assert [(await send_request(people[0], "GET", path)).status for path in quick] == [200] * 3
    assert (await send_request(ended[0], "HEAD", ended[1])).headers["Upload-Offset"] == "1"
    assert (await append_bytes(*ended, 1, bytes(LARGE - 1))).status == 204
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(lambda: not slots._slots)


async def test_downloads_of_who_holds_more_places_give_way(sqlite_node_server: NodeServer) -> None:
    clock = Clock()
    slots = sqlite_node_server.services.attachments.service.downloads = Slots(2, 2, clock=clock)
    ann, bo = [await sqlite_node_server.node.sign_up(with_keys=False) for _ in range(2)]
    path = await upload_file(ann, bytes(24 << 20))
    url, token = f"{ann.node.url}{path}", {"Authorization": f"Bearer {ann.token}"}
    async with AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(ann.node.http.get(url, headers=token)) for _ in range(2)]
        await wait_until(lambda: len(slots._slots) == 2)
        before = list(slots._slots)
        clock.now += GRACE_SECONDS

        fetched = await send_request(bo, "GET", path, Range="bytes=0-9")

        assert (fetched.status, fetched.body) == (206, bytes(10))
        (ended,) = (answer for answer, slot in zip(answers, before, strict=True) if slot not in slots._slots)
        with pytest.raises(aiohttp.ClientPayloadError):
            await ended.read()
    await wait_until(lambda: not slots._slots)
