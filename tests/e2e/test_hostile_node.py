"""The proxy of the lying node: without a lie it is no more than a wire, for the SDK and for raw clients of both subprotocols; with one it does what the lie says."""

from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess
from tests.hostile_node.ghosts import GhostLie
from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_devices import (
    HiddenDeviceLie,
    OwnGhostDevice,
    OwnGhostListed,
    PeerGhostDevice,
    PeerGhostListed,
)
from tests.hostile_node.lies_keys import KeySwapped, KeySwappedLater
from tests.hostile_node.lies_mailbox import EntryRepeated, HeadForged, HeadsCut, LossBelowNothing, LossOfNothing
from tests.hostile_node.lies_members import DirectBecomesGroup, GhostMember
from tests.support.chain_checker import BrokenChain
from tests.support.device_keys import base64_text
from tests.support.device_socket import Codec, DeviceSocket
from tests.support.hostile_harness import QUIET, open_hostile_harness, pending_events
from tests.support.hostile_rest_pair import RestPair
from tests.support.rest_device import RequestRefused
from tests.support.sdk_clients import link_clients, next_texts, open_client, register


pytestmark = pytest.mark.timeout(120)


async def test_a_proxy_without_a_lie_changes_nothing_for_two_people(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        for number in range(5):
            await here.ann.send_text(here.chat, f"to bo {number}")
            await here.bo.send_text(here.chat, f"to ann {number}")
        at_bo, at_ann = await next_texts(here.bo, 5), await next_texts(here.ann, 5)
        told = await pending_events(here.ann)

    assert (at_bo, at_ann) == ([f"to bo {n}" for n in range(5)], [f"to ann {n}" for n in range(5)])
    assert {event.name for event in told} <= QUIET


async def test_a_proxy_without_a_lie_lets_groups_links_and_reconnects_be(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with (
        open_hostile_harness(all_in_one, tmp_path) as here,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        await link_clients(here.ann, laptop)
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.ann.send_text(group, "first")
        await here.restart_ann()
        await here.bo.send_text(group, "second")
        await here.restart_ann()
        await here.ann.send_text(group, "third")
        assert await next_texts(here.bo, 2) == ["first", "third"]
        told = await pending_events(here.ann, upto="second")
        on_laptop = await pending_events(laptop, upto="third")
        title = (await here.ann.conversations.get(group))["title"]

    assert {event.name for event in (*told, *on_laptop)} <= QUIET | {"ownDeviceAdded"}
    assert title == "walks"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_raw_client_reads_and_posts_through_the_proxy_in_both_subprotocols(
    rest_pair: RestPair, codec: Codec
) -> None:
    line = await DeviceSocket.connect_and_resume(rest_pair.ann, codec=codec)
    await rest_pair.post_text(b"one")
    await line.wait_for_entries(1)
    await rest_pair.ann.fetch_device_list(rest_pair.bo.user_id)
    content = base64_text(b"\1\2 from ann") if codec == "json" else b"\1\2 from ann"
    body = rest_pair.ann.build_post(rest_pair.chat, [rest_pair.bo.user_id], base64_text(b"\1\2 from ann"))
    for device in body["recipients"][0]["devices"]:
        device["content"] = content
    accepted = await line.request("post", **body)
    await line.close()
    await rest_pair.bo.collect()

    assert (rest_pair.ann.contents, rest_pair.bo.contents, accepted["copies"]) == ([b"one"], [b"\1\2 from ann"], 1)
    assert [each.content for each in rest_pair.proxy.mallory.posted] == [b"\1\2 from ann"]


async def test_entries_put_in_are_acknowledged_here_and_the_true_ones_at_the_node(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(EntryRepeated())
    for _ in range(3):
        line = await DeviceSocket.connect_and_resume(rest_pair.ann)
        await rest_pair.post_text(b"twice")
        await line.wait_for_entries(len(rest_pair.ann.received) + 2)
        await line.request("acknowledge", seq=rest_pair.ann.chain.seq, head=rest_pair.ann.chain.head)  # type: ignore[union-attr]  # begun
        await line.close()
    page = await rest_pair.proxy.call("GET", "/mailbox")

    assert rest_pair.ann.contents == [b"twice"] * 6
    assert (page["cursor"]["seq"], page["entries"]) == (3, [])


async def test_a_raw_client_that_collects_by_rest_gets_the_told_mailbox_too(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(EntryRepeated())
    for text in (b"one", b"two", b"three"):
        await rest_pair.post_text(text)
    while not (await rest_pair.ann.collect(limit=2))["drained"]:
        await rest_pair.ann.acknowledge()
    await rest_pair.ann.acknowledge()
    again = await rest_pair.ann.call("GET", "/mailbox?after=0")

    assert rest_pair.ann.contents == [b"one", b"one", b"two", b"two", b"three", b"three"]
    assert (again["entries"], again["cursor"]["seq"]) == ([], 6)


@pytest.mark.parametrize("lie", [HeadForged, HeadsCut])
async def test_heads_that_do_not_follow_are_seen_by_a_raw_client(rest_pair: RestPair, lie: type[Lie]) -> None:
    line = await DeviceSocket.connect_and_resume(rest_pair.ann)
    await rest_pair.proxy.begin(lie())

    with pytest.raises(BrokenChain):
        await line.wait_closed()


@pytest.mark.parametrize(("lie", "count"), [(LossOfNothing, 0), (LossBelowNothing, -1)])
async def test_a_loss_of_nothing_comes_with_a_head_from_nowhere(
    rest_pair: RestPair, lie: type[Lie], count: int
) -> None:
    line = await DeviceSocket.connect_and_resume(rest_pair.ann)
    await rest_pair.proxy.begin(lie())

    with pytest.raises(AssertionError, match=f"'count': {count}"):
        await line.wait_closed()


@pytest.mark.parametrize("lie", [OwnGhostDevice, OwnGhostListed, PeerGhostDevice, PeerGhostListed])
async def test_a_ghost_stands_in_the_list_and_its_copies_stay_with_the_attacker(
    rest_pair: RestPair, lie: type[GhostLie]
) -> None:
    ghost = lie()
    await rest_pair.proxy.begin(ghost)
    true = len((await rest_pair.proxy.call("GET", f"/keys/{ghost.user_id}"))["devices"])
    listed = await rest_pair.ann.fetch_device_list(ghost.user_id)
    await rest_pair.ann.fetch_device_list(rest_pair.bo.user_id)
    body = rest_pair.ann.build_post(rest_pair.chat, [rest_pair.bo.user_id], b"\1\2 text")
    if ghost.user_id == rest_pair.ann.user_id:
        body["recipients"] += rest_pair.ann.build_post(rest_pair.chat, [rest_pair.ann.user_id], b"\1\2 text")[
            "recipients"
        ]
        body["recipients"][-1]["devices"] = body["recipients"][-1]["devices"][1:]
    await rest_pair.ann.call("POST", "/messages", body)
    await rest_pair.bo.collect()

    assert [each["deviceId"] for each in listed["devices"]] == [*range(1, true + 1), 2]
    assert ghost.ghost.own.address in [each.recipient for each in rest_pair.proxy.mallory.posted]
    assert rest_pair.bo.contents == [b"\1\2 text"]


async def test_a_ghost_that_is_not_named_is_missed_once(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(PeerGhostDevice())
    rest_pair.ann.device_lists[rest_pair.bo.user_id] = await rest_pair.proxy.call(
        "GET", f"/keys/{rest_pair.bo.user_id}"
    )
    body = rest_pair.ann.build_post(rest_pair.chat, [rest_pair.bo.user_id], b"\1\2 text")

    with pytest.raises(RequestRefused, match="STALE_DEVICES"):
        await rest_pair.ann.call("POST", "/messages", body)
    assert (await rest_pair.ann.call("POST", "/messages", body))["copies"] == 1


async def test_swapped_keys_are_in_list_and_bundle_and_keep_what_is_sealed_for_them(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(KeySwapped())
    listed = await rest_pair.ann.fetch_device_list(rest_pair.bo.user_id)
    claimed = await rest_pair.ann.call("POST", f"/keys/{rest_pair.bo.user_id}/claim", {"deviceIds": [1]})
    await rest_pair.ann.post(rest_pair.chat, rest_pair.bo, b"\1\2 text")
    await rest_pair.bo.collect()

    swapped = base64_text(rest_pair.proxy.mallory.identity.public)
    assert (listed["identityKey"], claimed["bundles"][0]["identityKey"]) == (swapped, swapped)
    assert rest_pair.bo.contents == []


async def test_keys_swapped_later_are_true_once(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(KeySwappedLater())
    looks = [(await rest_pair.ann.call("GET", f"/keys/{rest_pair.bo.user_id}"))["identityKey"] for _ in range(3)]

    assert looks[0] == rest_pair.bo.keys.upload()["identityKey"]
    assert looks[1:] == [base64_text(rest_pair.proxy.mallory.identity.public)] * 2


@pytest.mark.parametrize(("lie", "kind"), [(GhostMember, "direct"), (DirectBecomesGroup, "group")])
async def test_a_direct_conversation_is_told_with_a_member_more(
    rest_pair: RestPair, lie: type[GhostMember], kind: str
) -> None:
    await rest_pair.proxy.begin(lie())
    told = await rest_pair.ann.call("GET", f"/conversations/{rest_pair.chat}")
    listed = (await rest_pair.ann.call("GET", "/conversations"))["conversations"][0]

    members = {each["userId"] for each in told["members"]}
    assert members == {rest_pair.ann.user_id, rest_pair.bo.user_id, str(rest_pair.proxy.mallory.user_id)}
    assert (told["kind"], listed) == (kind, told)


async def test_a_device_that_is_hidden_gets_a_copy_that_says_nothing(
    rest_pair: RestPair, all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_client(all_in_one, tmp_path / "bo") as bo, open_client(all_in_one, tmp_path / "laptop") as laptop:
        await register(bo, all_in_one)
        await link_clients(bo, laptop)
        chat = await rest_pair.ann.call("POST", "/conversations", {"kind": "direct", "userId": str(bo.user_id)})
        await rest_pair.proxy.begin(HiddenDeviceLie())
        listed = await rest_pair.ann.fetch_device_list(str(bo.user_id))
        body = rest_pair.ann.build_post(chat["conversationId"], [str(bo.user_id)], b"\1\2" + bytes(80))
        said = await rest_pair.ann.call("POST", "/messages", body)

    assert ([each["deviceId"] for each in listed["devices"]], said["copies"]) == ([1], 2)


async def test_lies_are_switched_from_outside(rest_pair: RestPair, http: aiohttp.ClientSession) -> None:
    async with http.put(f"{rest_pair.proxy.url}/hostile/{KeySwapped.name}") as answer:
        on = await answer.json()
    listed = await rest_pair.ann.fetch_device_list(rest_pair.bo.user_id)
    async with http.delete(f"{rest_pair.proxy.url}/hostile/{KeySwapped.name}") as answer:
        off = await answer.json()
    async with http.put(f"{rest_pair.proxy.url}/hostile/none") as answer:
        unknown = answer.status

    assert (on["lies"][0]["name"], off["lies"], unknown) == (KeySwapped.name, [], 404)
    assert listed["identityKey"] == base64_text(rest_pair.proxy.mallory.identity.public)
