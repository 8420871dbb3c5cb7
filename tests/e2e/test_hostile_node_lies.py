"""Each further lie does what it says, seen by a device that defends against nothing."""

import asyncio
import sys
from uuid import UUID

import aiohttp
import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.hostile_node.lies_devices import OwnGhostSpeaks, PeerIdentityListed
from tests.hostile_node.lies_keys import (
    KeySwapped,
    OldSessionRevived,
    PinRefusedOnce,
    RetryAfterAccept,
    StaleBundle,
    UsernameReassigned,
)
from tests.hostile_node.lies_mailbox import (
    Garbage,
    GarbageTwice,
    MessageMoved,
    Replayed,
    SyncReplayed,
    WelcomeOfAnother,
)
from tests.hostile_node.lies_members import GhostMemberGroup, GroupKeyOfAnOutsider, KeyOfAnOutsider
from tests.hostile_node.proxy import open_proxy
from tests.hostile_node.wire import Body, Request
from tests.support.device_keys import base64_text
from tests.support.device_socket import DeviceSocket
from tests.support.friendship import befriend_devices
from tests.support.hostile_rest_pair import RestPair
from tests.support.rest_device import NodeClient, RequestRefused


pytestmark = pytest.mark.timeout(120)
SEALED = b"\1\2 sealed"


async def group_of(rest_pair: RestPair) -> str:
    await befriend_devices(rest_pair.ann, rest_pair.bo)
    body = {"kind": "group", "memberIds": [rest_pair.bo.user_id], "sealedInfo": base64_text(b"a title")}
    return str((await rest_pair.ann.call("POST", "/conversations", body))["conversationId"])


async def test_a_message_is_told_elsewhere_first(rest_pair: RestPair) -> None:
    group = await group_of(rest_pair)
    await rest_pair.proxy.begin(MessageMoved())
    await rest_pair.post_text(SEALED)

    told = await rest_pair.collect(3)

    assert told == [(rest_pair.bo.user_id, where, SEALED) for where in (group, rest_pair.chat)]


async def test_the_first_message_of_a_peer_comes_again(rest_pair: RestPair) -> None:
    await rest_pair.post_text(SEALED)
    await rest_pair.collect(1)
    await rest_pair.proxy.begin(Replayed())

    assert await rest_pair.collect(3) == [(rest_pair.bo.user_id, rest_pair.chat, SEALED)] * 3


async def test_garbage_comes_in_the_name_of_a_peer(rest_pair: RestPair) -> None:
    await rest_pair.post_text(SEALED)
    await rest_pair.collect(1)
    await rest_pair.proxy.begin(Garbage())

    await rest_pair.proxy.begin(GarbageTwice())

    true, *spoiled, nothing = await rest_pair.collect(4)

    assert {each[:2] for each in (true, *spoiled, nothing)} == {(rest_pair.bo.user_id, rest_pair.chat)}
    assert (true[2], [each[2][:-1] for each in spoiled], len(nothing[2])) == (SEALED, [SEALED[:-1]] * 2, 132)
    assert SEALED not in [each[2] for each in spoiled]


async def test_a_sync_comes_again_only_where_there_was_one(rest_pair: RestPair) -> None:
    lie = SyncReplayed()
    await rest_pair.post_text(SEALED)
    await rest_pair.collect(1)
    await rest_pair.proxy.begin(lie)
    await rest_pair.post_text(b"\1\2 behind it")

    assert [content for _, _, content in await rest_pair.collect(2)] == [SEALED, b"\1\2 behind it"]
    assert not lie.was_seen


async def test_a_welcome_names_a_message_that_was_never_posted(rest_pair: RestPair) -> None:
    lie = WelcomeOfAnother()
    await rest_pair.proxy.begin(lie)
    first, second = [(await DeviceSocket.connect_and_resume(rest_pair.ann)).welcome["lastMessageId"] for _ in range(2)]

    assert lie.was_seen
    assert {str(UUID(each)) for each in (first, second)} == {first, second}
    assert not {first, second} & {each.message_id for each in rest_pair.proxy.mallory.posted}


async def test_a_bundle_that_was_given_out_comes_again(rest_pair: RestPair) -> None:
    claims = [await rest_pair.ann.call("POST", f"/keys/{rest_pair.bo.user_id}/claim")]
    await rest_pair.proxy.begin(StaleBundle())
    claims += [await rest_pair.ann.call("POST", f"/keys/{rest_pair.bo.user_id}/claim") for _ in range(2)]

    assert claims == [claims[0]] * 3
    assert [each[:2] for each in await rest_pair.collect(2)] == [(rest_pair.bo.user_id, rest_pair.chat)] * 2


@pytest.mark.parametrize(
    ("lie", "count"), [(OwnGhostSpeaks, 1), (KeyOfAnOutsider, 2), (GroupKeyOfAnOutsider, 1), (OldSessionRevived, 1)]
)
async def test_envelopes_of_the_attacker_come_under_the_name_that_the_lie_says(
    rest_pair: RestPair, lie: type[OwnGhostSpeaks], count: int
) -> None:
    group = await group_of(rest_pair)
    await rest_pair.proxy.begin(lie())
    senders = {OwnGhostSpeaks: rest_pair.ann.user_id, OldSessionRevived: rest_pair.bo.user_id}
    where = rest_pair.chat if lie in (OwnGhostSpeaks, OldSessionRevived) else group

    told = await rest_pair.collect(len(rest_pair.proxy.mailbox.log))

    assert [each[:2] for each in told] == [(senders.get(lie, str(rest_pair.proxy.mallory.user_id)), where)] * count


async def test_a_title_of_the_attacker_is_shown(rest_pair: RestPair) -> None:
    group = await group_of(rest_pair)
    await rest_pair.proxy.begin(GroupKeyOfAnOutsider())

    assert (await rest_pair.ann.call("GET", f"/conversations/{group}"))["sealedInfo"] != base64_text(b"a title")


async def test_what_was_posted_before_a_swap_is_asked_for_by_the_attacker(rest_pair: RestPair) -> None:
    await rest_pair.ann.post(rest_pair.chat, rest_pair.bo, SEALED)
    await rest_pair.proxy.begin(KeySwapped())
    await rest_pair.proxy.begin(RetryAfterAccept())

    told = await rest_pair.collect(len(rest_pair.proxy.mailbox.log))

    assert [(sender, content[1]) for sender, _, content in told] == [(rest_pair.bo.user_id, 1)]


async def test_a_member_more_stands_in_a_group(rest_pair: RestPair) -> None:
    group = await group_of(rest_pair)
    await rest_pair.proxy.begin(GhostMemberGroup())
    members = (await rest_pair.ann.call("GET", f"/conversations/{group}"))["members"]
    listed = await rest_pair.ann.fetch_device_list(str(rest_pair.proxy.mallory.user_id))
    claimed = await rest_pair.ann.call("POST", f"/keys/{rest_pair.proxy.mallory.user_id}/claim")

    assert [each["userId"] for each in members][2:] == [str(rest_pair.proxy.mallory.user_id)]
    assert [each["deviceId"] for each in listed["devices"] + claimed["bundles"]] == [1, 1]


async def test_a_list_of_the_attackers_devices_takes_the_place_of_the_true_one(rest_pair: RestPair) -> None:
    await rest_pair.proxy.begin(PeerIdentityListed())
    listed = await rest_pair.ann.fetch_device_list(rest_pair.bo.user_id)

    assert listed["identityKey"] == base64_text(rest_pair.proxy.mallory.identity.public)
    assert [each["deviceId"] for each in listed["devices"]] == [2]


async def test_a_username_leads_to_the_attacker(rest_pair: RestPair) -> None:
    name = f"bo{rest_pair.bo.number[1:]}"
    await rest_pair.bo.call("PATCH", "/account", {"username": name})
    await rest_pair.proxy.begin(UsernameReassigned())

    assert (await rest_pair.ann.call("GET", f"/users/by-username/{name}"))["userId"] == str(
        rest_pair.proxy.mallory.user_id
    )


async def settings(rest_pair: RestPair) -> Body:
    """As the proxy tells them, which is not as any node does."""
    answer = await rest_pair.proxy.handle_client_request(
        Request(method="GET", path="/account", headers=rest_pair.proxy.known.headers)
    )
    assert answer.body is not None
    return Body(answer.body["settings"])


async def test_an_approval_is_refused_once_and_other_settings_are_told(rest_pair: RestPair) -> None:
    lie = PinRefusedOnce()
    await rest_pair.proxy.begin(lie)
    link = {"provisioning": base64_text(b"sealed"), "pin": "correct horse 7"}
    before = await settings(rest_pair)
    with pytest.raises(RequestRefused, match="INVALID_PIN"):
        await rest_pair.ann.call("POST", "/devices/links/x/approve", link)
    after = await settings(rest_pair)

    assert len(before["x"]) == len(after["x"])
    assert before["x"] != after["x"]
    assert lie.provisionings == [base64_text(b"sealed")]


async def test_a_lie_that_was_asked_for_early_begins_when_it_can(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    async with open_proxy(all_in_one.url) as proxy:
        proxy.switches.wanted.append(KeySwapped.name)
        ann = await NodeClient(http, proxy.url, all_in_one.otp_file).sign_up()
        bo = await NodeClient(http, all_in_one.url, all_in_one.otp_file).sign_up()
        await ann.collect()
        early = list(proxy.lies)
        await ann.open_direct(bo)
        listed = await ann.fetch_device_list(bo.user_id)

    assert early == []
    assert listed["identityKey"] == base64_text(proxy.mallory.identity.public)


async def test_the_command_serves_a_lying_node_for_a_client_of_any_language(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    command = (
        sys.executable,
        "-m",
        "tests.hostile_node",
        "--node",
        all_in_one.url,
        "--lie",
        KeySwapped.name,
        "--seed",
        "1",
    )
    served = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert served.stdout is not None
    url = (await served.stdout.readline()).decode().split()[2].rstrip(",")
    async with http.get(f"{url}/health") as health, http.get(f"{url}/hostile") as told:
        seen = (await health.json())["status"], (await told.json())["waiting"]
    served.terminate()
    await served.communicate()

    assert seen == ("ok", [KeySwapped.name])
