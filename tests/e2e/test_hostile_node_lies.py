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


async def group_of(raw: RestPair) -> str:
    await befriend_devices(raw.ann, raw.bo)
    body = {"kind": "group", "memberIds": [raw.bo.user_id], "sealedInfo": base64_text(b"a title")}
    return str((await raw.ann.call("POST", "/conversations", body))["conversationId"])


async def test_a_message_is_told_elsewhere_first(raw: RestPair) -> None:
    group = await group_of(raw)
    await raw.proxy.begin(MessageMoved())
    await raw.post_text(SEALED)

    told = await raw.collect(3)

    assert told == [(raw.bo.user_id, where, SEALED) for where in (group, raw.chat)]


async def test_the_first_message_of_a_peer_comes_again(raw: RestPair) -> None:
    await raw.post_text(SEALED)
    await raw.collect(1)
    await raw.proxy.begin(Replayed())

    assert await raw.collect(3) == [(raw.bo.user_id, raw.chat, SEALED)] * 3


async def test_garbage_comes_in_the_name_of_a_peer(raw: RestPair) -> None:
    await raw.post_text(SEALED)
    await raw.collect(1)
    await raw.proxy.begin(Garbage())

    await raw.proxy.begin(GarbageTwice())

    true, *spoiled, nothing = await raw.collect(4)

    assert {each[:2] for each in (true, *spoiled, nothing)} == {(raw.bo.user_id, raw.chat)}
    assert (true[2], [each[2][:-1] for each in spoiled], len(nothing[2])) == (SEALED, [SEALED[:-1]] * 2, 132)
    assert SEALED not in [each[2] for each in spoiled]


async def test_a_sync_comes_again_only_where_there_was_one(raw: RestPair) -> None:
    lie = SyncReplayed()
    await raw.post_text(SEALED)
    await raw.collect(1)
    await raw.proxy.begin(lie)
    await raw.post_text(b"\1\2 behind it")

    assert [content for _, _, content in await raw.collect(2)] == [SEALED, b"\1\2 behind it"]
    assert not lie.was_seen


async def test_a_welcome_names_a_message_that_was_never_posted(raw: RestPair) -> None:
    lie = WelcomeOfAnother()
    await raw.proxy.begin(lie)
    first, second = [(await DeviceSocket.connect_and_resume(raw.ann)).welcome["lastMessageId"] for _ in range(2)]

    assert lie.was_seen
    assert {str(UUID(each)) for each in (first, second)} == {first, second}
    assert not {first, second} & {each.message_id for each in raw.proxy.mallory.posted}


async def test_a_bundle_that_was_given_out_comes_again(raw: RestPair) -> None:
    claims = [await raw.ann.call("POST", f"/keys/{raw.bo.user_id}/claim")]
    await raw.proxy.begin(StaleBundle())
    claims += [await raw.ann.call("POST", f"/keys/{raw.bo.user_id}/claim") for _ in range(2)]

    assert claims == [claims[0]] * 3
    assert [each[:2] for each in await raw.collect(2)] == [(raw.bo.user_id, raw.chat)] * 2


@pytest.mark.parametrize(
    ("lie", "count"), [(OwnGhostSpeaks, 1), (KeyOfAnOutsider, 2), (GroupKeyOfAnOutsider, 1), (OldSessionRevived, 1)]
)
async def test_envelopes_of_the_attacker_come_under_the_name_that_the_lie_says(
    raw: RestPair, lie: type[OwnGhostSpeaks], count: int
) -> None:
    group = await group_of(raw)
    await raw.proxy.begin(lie())
    senders = {OwnGhostSpeaks: raw.ann.user_id, OldSessionRevived: raw.bo.user_id}
    where = raw.chat if lie in (OwnGhostSpeaks, OldSessionRevived) else group

    told = await raw.collect(len(raw.proxy.mailbox.log))

    assert [each[:2] for each in told] == [(senders.get(lie, str(raw.proxy.mallory.user_id)), where)] * count


async def test_a_title_of_the_attacker_is_shown(raw: RestPair) -> None:
    group = await group_of(raw)
    await raw.proxy.begin(GroupKeyOfAnOutsider())

    assert (await raw.ann.call("GET", f"/conversations/{group}"))["sealedInfo"] != base64_text(b"a title")


async def test_what_was_posted_before_a_swap_is_asked_for_by_the_attacker(raw: RestPair) -> None:
    await raw.ann.post(raw.chat, raw.bo, SEALED)
    await raw.proxy.begin(KeySwapped())
    await raw.proxy.begin(RetryAfterAccept())

    told = await raw.collect(len(raw.proxy.mailbox.log))

    assert [(sender, content[1]) for sender, _, content in told] == [(raw.bo.user_id, 1)]


async def test_a_member_more_stands_in_a_group(raw: RestPair) -> None:
    group = await group_of(raw)
    await raw.proxy.begin(GhostMemberGroup())
    members = (await raw.ann.call("GET", f"/conversations/{group}"))["members"]
    listed = await raw.ann.fetch_device_list(str(raw.proxy.mallory.user_id))
    claimed = await raw.ann.call("POST", f"/keys/{raw.proxy.mallory.user_id}/claim")

    assert [each["userId"] for each in members][2:] == [str(raw.proxy.mallory.user_id)]
    assert [each["deviceId"] for each in listed["devices"] + claimed["bundles"]] == [1, 1]


async def test_a_list_of_the_attackers_devices_takes_the_place_of_the_true_one(raw: RestPair) -> None:
    await raw.proxy.begin(PeerIdentityListed())
    listed = await raw.ann.fetch_device_list(raw.bo.user_id)

    assert listed["identityKey"] == base64_text(raw.proxy.mallory.identity.public)
    assert [each["deviceId"] for each in listed["devices"]] == [2]


async def test_a_username_leads_to_the_attacker(raw: RestPair) -> None:
    name = f"bo{raw.bo.number[1:]}"
    await raw.bo.call("PATCH", "/account", {"username": name})
    await raw.proxy.begin(UsernameReassigned())

    assert (await raw.ann.call("GET", f"/users/by-username/{name}"))["userId"] == str(raw.proxy.mallory.user_id)


async def settings(raw: RestPair) -> Body:
    """As the proxy tells them, which is not as any node does."""
    answer = await raw.proxy.handle_client_request(
        Request(method="GET", path="/account", headers=raw.proxy.known.headers)
    )
    assert answer.body is not None
    return Body(answer.body["settings"])


async def test_an_approval_is_refused_once_and_other_settings_are_told(raw: RestPair) -> None:
    lie = PinRefusedOnce()
    await raw.proxy.begin(lie)
    link = {"provisioning": base64_text(b"sealed"), "pin": "correct horse 7"}
    before = await settings(raw)
    with pytest.raises(RequestRefused, match="INVALID_PIN"):
        await raw.ann.call("POST", "/devices/links/x/approve", link)
    after = await settings(raw)

    assert len(before["x"]) == len(after["x"])
    assert before["x"] != after["x"]
    assert lie.provisionings == [base64_text(b"sealed")]


async def test_a_lie_that_was_asked_for_early_begins_when_it_can(
    alone: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    async with open_proxy(alone.url) as proxy:
        proxy.switches.wanted.append(KeySwapped.name)
        ann = await NodeClient(http, proxy.url, alone.otp_file).sign_up()
        bo = await NodeClient(http, alone.url, alone.otp_file).sign_up()
        await ann.collect()
        early = list(proxy.lies)
        await ann.open_direct(bo)
        listed = await ann.fetch_device_list(bo.user_id)

    assert early == []
    assert listed["identityKey"] == base64_text(proxy.mallory.identity.public)


async def test_the_command_serves_a_lying_node_for_a_client_of_any_language(
    alone: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    command = (sys.executable, "-m", "tests.hostile_node", "--node", alone.url, "--lie", KeySwapped.name, "--seed", "1")
    served = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert served.stdout is not None
    url = (await served.stdout.readline()).decode().split()[2].rstrip(",")
    async with http.get(f"{url}/health") as health, http.get(f"{url}/hostile") as told:
        seen = (await health.json())["status"], (await told.json())["waiting"]
    served.terminate()
    await served.communicate()

    assert seen == ("ok", [KeySwapped.name])
