"""The proxy of the lying node: without a lie it is no more than a wire, for the SDK and for raw clients of both subprotocols; with one it does what the lie says."""

from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import Alone
from tests.chain import BrokenChain
from tests.client import Refused
from tests.device_keys import base64_text
from tests.e2e.hostile import QUIET, heard, room
from tests.e2e.hostile_raw import Raw
from tests.e2e.test_client_linking import link
from tests.e2e.test_sdk import open_at, register, texts
from tests.hostile_node.ghosts import GhostLie
from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_devices import (
    Hidden,
    OwnGhostDevice,
    OwnGhostListed,
    PeerGhostDevice,
    PeerGhostListed,
)
from tests.hostile_node.lies_keys import KeySwapped, KeySwappedLater
from tests.hostile_node.lies_mailbox import EntryRepeated, HeadForged, HeadsCut, LossBelowNothing, LossOfNothing
from tests.hostile_node.lies_members import DirectBecomesGroup, GhostMember
from tests.line import Codec, Line


pytestmark = pytest.mark.timeout(120)


async def test_a_proxy_without_a_lie_changes_nothing_for_two_people(alone: Alone, tmp_path: Path) -> None:
    async with room(alone, tmp_path) as here:
        for number in range(5):
            await here.ann.send_text(here.chat, f"to bo {number}")
            await here.bo.send_text(here.chat, f"to ann {number}")
        at_bo, at_ann = await texts(here.bo, 5), await texts(here.ann, 5)
        told = await heard(here.ann)

    assert (at_bo, at_ann) == ([f"to bo {n}" for n in range(5)], [f"to ann {n}" for n in range(5)])
    assert {event.name for event in told} <= QUIET


async def test_a_proxy_without_a_lie_lets_groups_links_and_reconnects_be(alone: Alone, tmp_path: Path) -> None:
    async with room(alone, tmp_path) as here, open_at(alone, tmp_path / "laptop") as laptop:
        await link(here.ann, laptop)
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.ann.send_text(group, "first")
        await here.restart_ann()
        await here.bo.send_text(group, "second")
        await here.restart_ann()
        await here.ann.send_text(group, "third")
        assert await texts(here.bo, 2) == ["first", "third"]
        told = await heard(here.ann, upto="second")
        on_laptop = await heard(laptop, upto="third")
        title = (await here.ann.conversations.get(group))["title"]

    assert {event.name for event in (*told, *on_laptop)} <= QUIET | {"ownDeviceAdded"}
    assert title == "walks"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_raw_client_reads_and_posts_through_the_proxy_in_both_subprotocols(raw: Raw, codec: Codec) -> None:
    line = await Line.live(raw.ann, codec=codec)
    await raw.say(b"one")
    await line.seen(1)
    await raw.ann.learn(raw.bo.user_id)
    content = base64_text(b"\1\2 from ann") if codec == "json" else b"\1\2 from ann"
    body = raw.ann.body_of(raw.chat, [raw.bo.user_id], base64_text(b"\1\2 from ann"))
    for device in body["recipients"][0]["devices"]:
        device["content"] = content
    accepted = await line.ask("post", **body)
    await line.close()
    await raw.bo.collect()

    assert (raw.ann.contents, raw.bo.contents, accepted["copies"]) == ([b"one"], [b"\1\2 from ann"], 1)
    assert [each.content for each in raw.proxy.mallory.posted] == [b"\1\2 from ann"]


async def test_entries_put_in_are_acknowledged_here_and_the_true_ones_at_the_node(raw: Raw) -> None:
    await raw.proxy.begin(EntryRepeated())
    for _ in range(3):
        line = await Line.live(raw.ann)
        await raw.say(b"twice")
        await line.seen(len(raw.ann.seen) + 2)
        await line.ask("acknowledge", seq=raw.ann.chain.seq, head=raw.ann.chain.head)  # type: ignore[union-attr]  # begun
        await line.close()
    page = await raw.proxy.call("GET", "/mailbox")

    assert raw.ann.contents == [b"twice"] * 6
    assert (page["cursor"]["seq"], page["entries"]) == (3, [])


async def test_a_raw_client_that_collects_by_rest_gets_the_told_mailbox_too(raw: Raw) -> None:
    await raw.proxy.begin(EntryRepeated())
    for text in (b"one", b"two", b"three"):
        await raw.say(text)
    while not (await raw.ann.collect(limit=2))["drained"]:
        await raw.ann.acknowledge()
    await raw.ann.acknowledge()
    again = await raw.ann.call("GET", "/mailbox?after=0")

    assert raw.ann.contents == [b"one", b"one", b"two", b"two", b"three", b"three"]
    assert (again["entries"], again["cursor"]["seq"]) == ([], 6)


@pytest.mark.parametrize("lie", [HeadForged, HeadsCut])
async def test_heads_that_do_not_follow_are_seen_by_a_raw_client(raw: Raw, lie: type[Lie]) -> None:
    line = await Line.live(raw.ann)
    await raw.proxy.begin(lie())

    with pytest.raises(BrokenChain):
        await line.ended()


@pytest.mark.parametrize(("lie", "count"), [(LossOfNothing, 0), (LossBelowNothing, -1)])
async def test_a_loss_of_nothing_comes_with_a_head_from_nowhere(raw: Raw, lie: type[Lie], count: int) -> None:
    line = await Line.live(raw.ann)
    await raw.proxy.begin(lie())

    with pytest.raises(AssertionError, match=f"'count': {count}"):
        await line.ended()


@pytest.mark.parametrize("lie", [OwnGhostDevice, OwnGhostListed, PeerGhostDevice, PeerGhostListed])
async def test_a_ghost_stands_in_the_list_and_its_copies_stay_with_the_attacker(raw: Raw, lie: type[GhostLie]) -> None:
    ghost = lie()
    await raw.proxy.begin(ghost)
    true = len((await raw.proxy.call("GET", f"/keys/{ghost.user_id}"))["devices"])
    listed = await raw.ann.learn(ghost.user_id)
    await raw.ann.learn(raw.bo.user_id)
    body = raw.ann.body_of(raw.chat, [raw.bo.user_id], b"\1\2 text")
    if ghost.user_id == raw.ann.user_id:
        body["recipients"] += raw.ann.body_of(raw.chat, [raw.ann.user_id], b"\1\2 text")["recipients"]
        body["recipients"][-1]["devices"] = body["recipients"][-1]["devices"][1:]
    await raw.ann.call("POST", "/messages", body)
    await raw.bo.collect()

    assert [each["deviceId"] for each in listed["devices"]] == [*range(1, true + 1), 2]
    assert ghost.ghost.own.address in [each.recipient for each in raw.proxy.mallory.posted]
    assert raw.bo.contents == [b"\1\2 text"]


async def test_a_ghost_that_is_not_named_is_missed_once(raw: Raw) -> None:
    await raw.proxy.begin(PeerGhostDevice())
    raw.ann.lists[raw.bo.user_id] = await raw.proxy.call("GET", f"/keys/{raw.bo.user_id}")
    body = raw.ann.body_of(raw.chat, [raw.bo.user_id], b"\1\2 text")

    with pytest.raises(Refused, match="STALE_DEVICES"):
        await raw.ann.call("POST", "/messages", body)
    assert (await raw.ann.call("POST", "/messages", body))["copies"] == 1


async def test_swapped_keys_are_in_list_and_bundle_and_keep_what_is_sealed_for_them(raw: Raw) -> None:
    await raw.proxy.begin(KeySwapped())
    listed = await raw.ann.learn(raw.bo.user_id)
    claimed = await raw.ann.call("POST", f"/keys/{raw.bo.user_id}/claim", {"deviceIds": [1]})
    await raw.ann.post(raw.chat, raw.bo, b"\1\2 text")
    await raw.bo.collect()

    swapped = base64_text(raw.proxy.mallory.identity.public)
    assert (listed["identityKey"], claimed["bundles"][0]["identityKey"]) == (swapped, swapped)
    assert raw.bo.contents == []


async def test_keys_swapped_later_are_true_once(raw: Raw) -> None:
    await raw.proxy.begin(KeySwappedLater())
    looks = [(await raw.ann.call("GET", f"/keys/{raw.bo.user_id}"))["identityKey"] for _ in range(3)]

    assert looks[0] == raw.bo.keys.upload()["identityKey"]
    assert looks[1:] == [base64_text(raw.proxy.mallory.identity.public)] * 2


@pytest.mark.parametrize(("lie", "kind"), [(GhostMember, "direct"), (DirectBecomesGroup, "group")])
async def test_a_direct_conversation_is_told_with_a_member_more(raw: Raw, lie: type[GhostMember], kind: str) -> None:
    await raw.proxy.begin(lie())
    told = await raw.ann.call("GET", f"/conversations/{raw.chat}")
    listed = (await raw.ann.call("GET", "/conversations"))["conversations"][0]

    members = {each["userId"] for each in told["members"]}
    assert members == {raw.ann.user_id, raw.bo.user_id, str(raw.proxy.mallory.user_id)}
    assert (told["kind"], listed) == (kind, told)


async def test_a_device_that_is_hidden_gets_a_copy_that_says_nothing(raw: Raw, alone: Alone, tmp_path: Path) -> None:
    async with open_at(alone, tmp_path / "bo") as bo, open_at(alone, tmp_path / "laptop") as laptop:
        await register(bo, alone)
        await link(bo, laptop)
        chat = await raw.ann.call("POST", "/conversations", {"kind": "direct", "userId": str(bo.user_id)})
        await raw.proxy.begin(Hidden())
        listed = await raw.ann.learn(str(bo.user_id))
        body = raw.ann.body_of(chat["conversationId"], [str(bo.user_id)], b"\1\2" + bytes(80))
        said = await raw.ann.call("POST", "/messages", body)

    assert ([each["deviceId"] for each in listed["devices"]], said["copies"]) == ([1], 2)


async def test_lies_are_switched_from_outside(raw: Raw, http: aiohttp.ClientSession) -> None:
    async with http.put(f"{raw.proxy.url}/hostile/{KeySwapped.name}") as answer:
        on = await answer.json()
    listed = await raw.ann.learn(raw.bo.user_id)
    async with http.delete(f"{raw.proxy.url}/hostile/{KeySwapped.name}") as answer:
        off = await answer.json()
    async with http.put(f"{raw.proxy.url}/hostile/none") as answer:
        unknown = answer.status

    assert (on["lies"][0]["name"], off["lies"], unknown) == (KeySwapped.name, [], 404)
    assert listed["identityKey"] == base64_text(raw.proxy.mallory.identity.public)
