"""A mailbox that somebody fills: what its owner still hears, and who can still write."""

from datetime import UTC, datetime
from uuid import UUID

from tests.client import Device, Refused
from tests.live_house import House
from vyry.adapters.circle_rows import FriendRow
from vyry.adapters.database import transaction
from vyry.adapters.notices import Audience, Telling, enqueue


LARGEST = bytes(65_536)


async def flood(device: Device, other: Device, conversation: str) -> tuple[int, str]:
    """Post the largest contents into the lane of receipts until the node refuses: how many it took, and what it said then."""
    for taken in range(130):
        try:
            await device.post(conversation, other, LARGEST, lane="control", urgent=False)
        except Refused as refused:
            return taken, str(refused.code)
        # Answered when what was accepted before has its number.
        await other.call("GET", "/mailbox?limit=1")
    raise AssertionError("never refused")


async def befriend(one: Device, other: Device) -> None:
    for mine, theirs in ((one, other), (other, one)):
        _ = await FriendRow.create(account_id=mine.user_id, friend_id=theirs.user_id, since=datetime.now(UTC))


async def tell(house: House, device: Device, name: str) -> None:
    """The node has news for this account."""
    async with transaction() as inside:
        await enqueue(inside, Telling(UUID(device.user_id), Audience.OWN, {"name": name}, datetime.now(UTC)))
    await house.services.notices.deliver()


async def test_a_stranger_who_fills_a_mailbox_hides_no_news_and_shuts_out_nobody(house: House) -> None:
    stranger, victim, conversation = await house.pair()
    friend = await house.node.sign_up()
    await befriend(friend, victim)

    taken, code = await flood(stranger, victim, conversation)
    await tell(house, victim, "registrationAttempted")
    posted = await friend.post(await friend.open_direct(victim), victim, LARGEST, lane="control")

    assert (taken, code) == (16, "MAILBOX_FULL")
    assert (posted["copies"], posted["skipped"]) == (1, [])
    while not (await victim.collect(wait=2, limit=200))["drained"]:
        pass
    assert [each["notice"] for each in victim.seen if "notice" in each] == [{"name": "registrationAttempted"}]
    assert victim.seen[-1]["senderId"] == friend.user_id


async def test_what_the_owner_has_read_makes_room_for_strangers_again(house: House) -> None:
    stranger, victim, conversation = await house.pair()
    # A stranger who was refused stays refused for a while, whatever the owner reads: others tell.
    other = await house.node.sign_up()
    await flood(stranger, victim, conversation)

    while not (await victim.collect(limit=200))["drained"]:
        pass
    await victim.acknowledge()

    assert await flood(stranger, victim, conversation) == (0, "MAILBOX_FULL")
    assert (await flood(other, victim, await other.open_direct(victim)))[0] == 16
