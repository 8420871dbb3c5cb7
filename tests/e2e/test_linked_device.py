"""A device that joined by a link, on real nodes: asked for at one, let in at another, and from then on mail comes to it like to any."""

import asyncio

from tests.support.device_socket import DeviceSocket
from tests.support.linking import Approver, NewDevice
from tests.support.rest_device import NodeClient


async def test_a_device_linked_over_two_nodes_gets_its_copies_and_sync_copies(nodes: list[NodeClient]) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    together = await ann.open_direct(bo)
    newcomer = await NewDevice.request_link(nodes[1])

    waiting = asyncio.create_task(newcomer.fetch_link(wait=30))
    approver = await Approver.scan_offer(ann, newcomer)
    scanned = await waiting
    waiting = asyncio.create_task(newcomer.fetch_link(wait=30))
    await approver.approve()
    tablet = await newcomer.complete(await waiting, ann.number)
    line = await DeviceSocket.connect_and_resume(tablet)
    await bo.post(together, ann, b"for all of ann")
    await ann.fetch_device_list(bo.user_id)
    await ann.fetch_device_list(ann.user_id)
    sync = ann.build_post(together, [bo.user_id, ann.user_id], b"from ann")
    del sync["recipients"][1]["devices"][0]
    await ann.call("POST", "/messages", sync)
    await line.wait_for_entries(2)
    await line.close()

    assert newcomer.derive_secrets(scanned).compare_code == approver.secrets.compare_code
    assert tablet.contents == [b"for all of ann", b"from ann"]
