"""A device that joined by a link, on real nodes: asked for at one, let in at another, and from then on mail comes to it like to any."""

import asyncio

from tests.client import Node
from tests.line import Line
from tests.linking import Approver, Newcomer


async def test_a_device_linked_over_two_nodes_gets_its_copies_and_sync_copies(nodes: list[Node]) -> None:
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    together = await ann.open_direct(bo)
    newcomer = await Newcomer.ask(nodes[1])

    waiting = asyncio.create_task(newcomer.look(wait=30))
    approver = await Approver.scan(ann, newcomer)
    scanned = await waiting
    waiting = asyncio.create_task(newcomer.look(wait=30))
    await approver.approve()
    tablet = await newcomer.complete(await waiting, ann.number)
    line = await Line.live(tablet)
    await bo.post(together, ann, b"for all of ann")
    await ann.learn(bo.user_id)
    await ann.learn(ann.user_id)
    sync = ann.body_of(together, [bo.user_id, ann.user_id], b"from ann")
    del sync["recipients"][1]["devices"][0]
    await ann.call("POST", "/messages", sync)
    await line.seen(2)
    await line.close()

    assert newcomer.secrets(scanned).compare_code == approver.secrets.compare_code
    assert tablet.contents == [b"for all of ann", b"from ann"]
