"""What operators see and do in the mailbox of a device whose node runs: its socket, the stop in the way, losses and announcements that reach it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import Device
from vyry.accounts.events import OperatorAction
from vyry.kernel.ids import UserId
from vyry.mail.store import DropRequest, DropResult
from vyry.operator.announcements import begin_announcement, hand_over
from vyry.operator.mailbox_reasons import Reason, explain_mailbox
from vyry.operator.mailboxes import MailboxDetails, find_device, load_mailbox
from vyry.operator.socket_lookup import Socket, SocketKnowledge, find_socket
from vyry.redis.connection import connect_redis
from vyry.redis.socket_query import location_key
from web.live.send_window import WINDOW_ENTRIES


def act(name: str) -> OperatorAction:
    return OperatorAction(datetime.now(UTC), "olga", name, "a test")


async def explain(node_server: NodeServer, device: Device) -> tuple[MailboxDetails, Socket, Sequence[Reason]]:
    """What `vyry mailbox explain` finds."""
    box = await load_mailbox(await find_device(UserId(UUID(device.user_id)), device.device_id))
    redis = node_server.settings.redis_url
    socket = await find_socket(redis.get_secret_value() if redis else None, box.device.mailbox)
    return box, socket, explain_mailbox(box, socket, datetime.now(UTC))


async def post(node_server: NodeServer, pair: tuple[Device, Device, str], count: int) -> None:
    """Ann posts that many messages to Bo over one socket."""
    ann, bo, together = pair
    line = await DeviceSocket.connect_and_resume(ann)
    posts = (ann.build_post(together, [bo.user_id], b"%d" % number) for number in range(count))
    await asyncio.gather(*(line.request("post", **body) for body in posts))
    await line.close()


def is_shared(node_server: NodeServer) -> bool:
    return node_server.settings.redis_url is not None


async def test_the_socket_is_found_on_its_node_with_its_window_and_last_delivery(node_server: NodeServer) -> None:
    pair = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(pair[1])
    await post(node_server, pair, 3)
    await line.wait_for_entries(3)
    await line.request("ping")

    box, socket, reasons = await explain(node_server, pair[1])

    if not is_shared(node_server):
        assert socket == Socket(SocketKnowledge.NOT_SHARED)
        return
    assert socket.location is not None
    details = socket.location.details
    assert details is not None
    assert (details.sent_seq, details.is_window_full, details.waiting_frames) == (3, False, 0)
    assert details.seconds_since_delivery is not None
    assert box.last_seq == 3
    assert {each.code for each in reasons} <= {"nothingWaits", "notAcknowledged", "inDelivery"}
    await line.close()


async def test_a_device_that_does_not_acknowledge_fills_its_window(node_server: NodeServer) -> None:
    pair = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(pair[1], acknowledges=False)
    await post(node_server, pair, WINDOW_ENTRIES + 2)
    await line.wait_for_entries(WINDOW_ENTRIES)

    box, _, reasons = await explain(node_server, pair[1])

    expected = "windowFull" if is_shared(node_server) else "socketUnknown"
    assert [each.code for each in reasons] == [expected]
    assert (box.numbered and box.numbered.entries, box.acknowledged_seq) == (WINDOW_ENTRIES + 2, 0)
    await line.close()


async def test_a_device_without_a_socket_and_one_whose_node_is_dead(node_server: NodeServer) -> None:
    pair = await node_server.sign_up_pair()
    await post(node_server, pair, 1)
    _, _, asleep = await explain(node_server, pair[1])
    if not is_shared(node_server):
        assert [each.code for each in asleep] == ["socketUnknown"]
        return
    box = await find_device(UserId(UUID(pair[1].user_id)), 1)
    assert node_server.settings.redis_url
    redis = connect_redis(node_server.settings.redis_url.get_secret_value())
    await redis.set(location_key(box.mailbox), "00ff00ff00ff00ff:7")
    await redis.aclose()

    _, socket, reasons = await explain(node_server, pair[1])

    assert [each.code for each in asleep] == ["noSocket"]
    assert [each.code for each in reasons] == ["nodeSilent"]
    assert socket.location is not None
    assert (socket.location.node, socket.location.has_answered) == ("00ff00ff00ff00ff", False)


async def test_redis_that_is_down_is_said(node_server: NodeServer) -> None:
    pair = await node_server.sign_up_pair()
    box = await load_mailbox(await find_device(UserId(UUID(pair[0].user_id)), 1))

    socket = await find_socket("redis://127.0.0.1:1", box.device.mailbox)

    assert socket == Socket(SocketKnowledge.UNAVAILABLE)
    assert [each.code for each in explain_mailbox(box, socket, datetime.now(UTC))] == ["socketUnknown"]


async def test_a_dropped_entry_reaches_the_device_as_a_loss_behind_a_full_window(node_server: NodeServer) -> None:
    pair = await node_server.sign_up_pair()
    bo = pair[1]
    line = await DeviceSocket.connect_and_resume(bo, acknowledges=False)
    await post(node_server, pair, WINDOW_ENTRIES + 3)
    await line.wait_for_entries(WINDOW_ENTRIES)
    device = await find_device(UserId(UUID(bo.user_id)), 1)

    dropped = await node_server.services.mail_store.upkeep.drop(
        DropRequest(device.mailbox, WINDOW_ENTRIES + 1, WINDOW_ENTRIES + 2), act("mailboxDrop")
    )
    line.acknowledges = True
    last = bo.received[-1]
    await line.request("acknowledge", seq=last["seq"], head=last["head"])
    await line.wait_for_entries(WINDOW_ENTRIES + 2)

    loss, after = bo.received[-2:]
    assert dropped == DropResult(2)
    assert (loss["seq"], loss["throughSeq"]) == (WINDOW_ENTRIES + 1, WINDOW_ENTRIES + 2)
    assert loss["tombstone"] == {"reason": "operator", "count": 2}
    # The device has checked the chain up to here.
    assert after["seq"] == WINDOW_ENTRIES + 3
    assert "content" in after
    await line.close()


@pytest.mark.parametrize("text", ["Wartung heute 22 Uhr: \u00fc\u00df \U0001f6e0\n\u201ebis dann\u201c", 'a "b" \\ /'])
async def test_an_announcement_reaches_sockets_and_rest_alike(node_server: NodeServer, text: str) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(ann)
    announcement = await begin_announcement(text, "de", act("announce"))
    assert announcement is not None
    await hand_over(announcement.announcement_id, 100, datetime.now(UTC))

    await node_server.services.notice_poster.post_pending()
    await wait_until(lambda: any("notice" in each for each in ann.received))
    await bo.collect(wait=5)

    body = {"name": "announcement", "announcementId": str(announcement.announcement_id), "text": text, "language": "de"}
    for device in (ann, bo):
        assert [each["notice"] for each in device.received if "notice" in each] == [body]
    await line.close()
