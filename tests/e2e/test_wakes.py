"""Wake-ups over a cluster: a post at one web node, an idle device of another, competing workers, and one push at the push service."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scripts.nodes import PUSH_PORT
from tests.support.device_socket import DeviceSocket
from tests.support.push_server import PushServer, open_push_server
from tests.support.rest_device import Device, NodeClient


PATH = "/devices/current/push"


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server(PUSH_PORT) as opened:
        yield opened


async def wait_for_push(services: PushServer, name: str) -> None:
    """Come back when the service has taken a push for it."""
    while name not in {each.name for each in services.pushed}:
        taken = asyncio.Event()
        services.on_push = taken.set
        async with asyncio.timeout(30):
            await taken.wait()


async def write(ann: Device, other: Device, count: int) -> None:
    together = await ann.open_direct(other)
    for number in range(count):
        await ann.post(together, other, b"%d" % number)


@pytest.mark.timeout(120)
async def test_mail_from_another_node_wakes_a_sleeping_device_once(
    nodes: list[NodeClient], services: PushServer
) -> None:
    here, there = nodes
    ann, bo, awake, lost, last = [await (here if n == 0 else there).sign_up() for n in range(5)]
    nowhere = {"kind": "unifiedpush", "endpoint": "http://127.0.0.1:9/push/a-place-where-nobody-listens"}
    await bo.call("PUT", PATH, services.subscribe("bo").registration_body(services.url))
    await awake.call("PUT", PATH, services.subscribe("awake").registration_body(services.url))
    await lost.call("PUT", PATH, nowhere)
    await last.call("PUT", PATH, services.subscribe("last").registration_body(services.url))
    line = await DeviceSocket.connect_and_resume(awake)

    for other in (lost, awake, bo):
        await write(ann, other, 5)
    await line.wait_for_entries(5)
    await wait_for_push(services, "bo")
    # Whatever else was planned for bo by then is due before this.
    await write(ann, last, 1)
    await wait_for_push(services, "last")
    await line.close()
    await asyncio.gather(*(device.call("DELETE", PATH) for device in (bo, awake, lost, last)))

    assert [(each.name, each.content) for each in services.pushed] == [("bo", b"{}"), ("last", b"{}")]
    await bo.collect(wait=5)
    assert bo.contents == [b"%d" % number for number in range(5)]
