"""Who is told that somebody's devices changed, and who is not: docs/protocol.md, "Notices"."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.linking import link_device
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


Change = Callable[[NodeServer, Device], Awaitable[object]]


async def end_the_tablet(_: NodeServer, ann: Device) -> None:
    await ann.call("DELETE", "/devices/2")


async def log_out(_: NodeServer, ann: Device) -> None:
    await ann.call("POST", "/auth/logout")


async def heard(node_server: NodeServer, device: Device) -> list[Body]:
    """The notices that came since it was asked last."""
    await node_server.services.notice_poster.post_pending()
    page = await device.collect()
    return [entry["notice"] for entry in page["entries"] if "notice" in entry]


async def told(device: Device, ann: Device, *, identity_changed: bool = False) -> Body:
    """What everybody who talks to Ann hears after a change."""
    epoch = (await device.fetch_device_list(ann.user_id, again=True))["epoch"]
    return {"name": "devicesChanged", "userId": ann.user_id, "epoch": epoch, "identityChanged": identity_changed}


@pytest.mark.parametrize("change", [end_the_tablet, log_out])
async def test_peers_are_told_of_a_change_and_nobody_else(node_server: NodeServer, change: Change) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await link_device(ann)
    bo_tablet, stranger = await link_device(bo), await node_server.node.sign_up()
    for device in (ann, bo, bo_tablet, stranger):
        await heard(node_server, device)

    await change(node_server, ann)

    assert await heard(node_server, bo) == await heard(node_server, bo_tablet) == [await told(bo, ann)]
    assert await heard(node_server, stranger) == []


async def test_peers_are_told_that_another_identity_came_with_a_new_sign_up(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await heard(node_server, bo)

    again = await node_server.node.sign_up(ann.number, with_keys=False)
    gone = await heard(node_server, bo)
    await again.upload_keys()
    come = await heard(node_server, bo)

    assert [(each["name"], each["identityChanged"]) for each in gone + come] == [("devicesChanged", True)] * 2
    assert come == [await told(bo, ann, identity_changed=True)]


async def test_the_same_keys_again_are_no_change(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await heard(node_server, bo)
    before = (await bo.fetch_device_list(ann.user_id, again=True))["epoch"]

    await ann.upload_keys()

    assert await heard(node_server, bo) == []
    assert (await bo.fetch_device_list(ann.user_id, again=True))["epoch"] == before


async def test_another_registration_id_of_a_live_device_is_refused_and_told_to_nobody(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await heard(node_server, bo)
    before, kept = (await bo.fetch_device_list(ann.user_id, again=True))["epoch"], ann.keys.registration_id

    ann.keys.registration_id = kept % 16380 + 1
    with pytest.raises(RequestRefused, match="INVALID_KEYS") as refused:
        await ann.upload_keys()

    assert refused.value.body["fields"][0]["field"] == "registrationId"
    assert await heard(node_server, bo) == []
    assert (await bo.fetch_device_list(ann.user_id, again=True))["epoch"] == before


async def test_a_device_that_runs_low_is_told_once_until_it_refills(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    await bo.upload_keys(one_time=21, pq=30)
    lows = []

    for _ in range(3):
        await ann.call("POST", f"/keys/{bo.user_id}/claim", {})
        lows.append(await heard(node_server, bo))
    await bo.call("POST", "/keys/prekeys", {"oneTimePrekeys": bo.keys.one_time_prekeys(2)})
    for _ in range(2):
        await ann.call("POST", f"/keys/{bo.user_id}/claim", {})
        lows.append(await heard(node_server, bo))

    first, second = (
        {"name": "prekeysLow", "oneTimeRemaining": 19, "pqRemaining": 28},
        {"name": "prekeysLow", "oneTimeRemaining": 19, "pqRemaining": 26},
    )
    assert lows == [[], [first], [], [second], []]
