"""A mailbox that somebody fills: what its owner still hears, and who can still write."""

from datetime import UTC, datetime
from uuid import UUID

from tests.support.node_server import NodeServer
from tests.support.rest_device import Device, RequestRefused
from vyry.storage.conversation_models import FriendRow
from vyry.storage.database import transaction
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice


LARGEST = bytes(65_536)


async def flood(device: Device, other: Device, conversation: str) -> tuple[int, str]:
    """Post the largest contents into the lane of receipts until the node refuses: how many it took, and what it said then."""
    for taken in range(130):
        try:
            await device.post(conversation, other, LARGEST, lane="control", urgent=False)
        except RequestRefused as refused:
            return taken, str(refused.code)
        # Answered when what was accepted before has its number.
        await other.call("GET", "/mailbox?limit=1")
    raise AssertionError("never refused")


async def befriend(one: Device, other: Device) -> None:
    for mine, theirs in ((one, other), (other, one)):
        _ = await FriendRow.create(account_id=mine.user_id, friend_id=theirs.user_id, since=datetime.now(UTC))


async def post_notice(node_server: NodeServer, device: Device, name: str) -> None:
    """The node has news for this account."""
    async with transaction() as tx:
        await enqueue_notice(tx, NewNotice(UUID(device.user_id), Audience.OWN, {"name": name}, datetime.now(UTC)))
    await node_server.services.notice_poster.post_pending()


async def test_a_stranger_who_fills_a_mailbox_hides_no_news_and_shuts_out_nobody(node_server: NodeServer) -> None:
    stranger, victim, conversation = await node_server.sign_up_pair()
    friend = await node_server.node.sign_up()
    await befriend(friend, victim)

    taken, code = await flood(stranger, victim, conversation)
    await post_notice(node_server, victim, "registrationAttempted")
    posted = await friend.post(await friend.open_direct(victim), victim, LARGEST, lane="control")

    assert (taken, code) == (16, "MAILBOX_FULL")
    assert (posted["copies"], posted["skipped"]) == (1, [])
    while not (await victim.collect(wait=2, limit=200))["drained"]:
        pass
    assert [each["notice"] for each in victim.received if "notice" in each] == [{"name": "registrationAttempted"}]
    assert victim.received[-1]["senderId"] == friend.user_id


async def test_what_the_owner_has_read_makes_room_for_strangers_again(node_server: NodeServer) -> None:
    stranger, victim, conversation = await node_server.sign_up_pair()
    # A stranger who was refused stays refused for a while, whatever the owner reads: others tell.
    other = await node_server.node.sign_up()
    await flood(stranger, victim, conversation)

    while not (await victim.collect(limit=200))["drained"]:
        pass
    await victim.acknowledge()

    assert await flood(stranger, victim, conversation) == (0, "MAILBOX_FULL")
    assert (await flood(other, victim, await other.open_direct(victim)))[0] == 16
