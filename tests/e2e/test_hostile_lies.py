"""The SDK against each lie about people and devices: it ends in the event that is named for it, and nothing is sealed for the liar."""

import asyncio
from pathlib import Path

import pytest

from scripts.nodes import AllInOneProcess
from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_devices import (
    HiddenDeviceLie,
    OwnDeviceHidden,
    OwnGhostDevice,
    OwnGhostListed,
    OwnGhostSpeaks,
    PeerGhostDevice,
    PeerGhostListed,
    PeerIdentityListed,
)
from tests.hostile_node.lies_keys import (
    KeySwapped,
    KeySwappedLater,
    OldSessionRevived,
    PinRefusedOnce,
    RetryAfterAccept,
    StaleBundle,
    UsernameReassigned,
)
from tests.hostile_node.lies_members import (
    DirectBecomesGroup,
    GhostMember,
    GhostMemberGroup,
    GroupKeyOfAnOutsider,
    KeyOfAnOutsider,
)
from tests.hostile_node.proxy import open_proxy
from tests.support.cli_runner import CliResult, CliRunner
from tests.support.hostile_harness import (
    QUIET,
    HostileHarness,
    compare_safety_number,
    open_hostile_harness,
    pending_events,
)
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import link_clients, next_texts, open_client
from vyry.client.api.client import Client
from vyry.client.errors import Refused


pytestmark = pytest.mark.timeout(120)
SECRET = "my PIN is 4711"
DECIDE = 11


async def event_after_post(here: HostileHarness, lie: Lie) -> set[str]:
    """Ann says something: it does not come to the attacker; answers which named events came."""
    await here.post_text(SECRET)
    told = await here.event_names()
    assert lie.was_seen
    assert not here.proxy.mallory.has_read(SECRET)
    return told & set(lie.detected_by)


@pytest.mark.parametrize(
    "kind",
    [PeerGhostDevice, PeerGhostListed, PeerIdentityListed, GhostMember, DirectBecomesGroup, KeySwapped],
    ids=lambda kind: str(kind.name),
)
async def test_nothing_is_sealed_for_a_liar_and_the_person_is_told(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[Lie]
) -> None:
    lie = kind()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        assert await event_after_post(here, lie)


@pytest.mark.parametrize("kind", [OwnGhostDevice, OwnGhostListed], ids=lambda kind: str(kind.name))
async def test_a_forged_own_device_gets_nothing_and_the_peer_does(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[Lie]
) -> None:
    lie = kind()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        assert await event_after_post(here, lie)
        assert await next_texts(here.bo, 1) == [SECRET]


async def test_words_of_a_forged_own_device_are_nobodys(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    lie = OwnGhostSpeaks()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        assert (lie.text, True) not in here.history_texts()
        assert await event_after_post(here, lie)
        assert (lie.text, True) not in here.history_texts()


async def test_a_device_of_a_peer_that_the_node_hides_is_told(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with (
        open_hostile_harness(all_in_one, tmp_path) as here,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        await link_clients(here.bo, laptop)
        await here.post_text("to both")
        lie = HiddenDeviceLie()
        await here.begin(lie)
        await here.post_text("to one")
        # Mail from before the list changed may come until the first connection after that has brought all of it.
        await here.restart_ann()
        await pending_events(here.ann)
        await laptop.send_text(here.chat, "from the laptop")
        await laptop.sent()
        told = {event.name for event in await pending_events(here.ann, upto="from the laptop")}

    assert lie.was_seen
    assert told & set(lie.detected_by)


async def test_an_own_device_that_the_node_hides_is_told(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with (
        open_hostile_harness(all_in_one, tmp_path) as here,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        await link_clients(here.ann, laptop)
        await here.post_text("with the laptop")
        lie = OwnDeviceHidden()
        await here.begin(lie)
        await here.post_text("without it")
        # As above.
        await here.restart_ann()
        await pending_events(here.ann)
        await laptop.send_text(here.chat, "from the laptop")
        await laptop.sent()
        told = await here.event_names()

    assert lie.was_seen
    assert told & set(lie.detected_by)


@pytest.mark.parametrize(
    ("kind", "name"), [(GhostMember, "conversationForged"), (KeySwapped, "identityChanged")], ids=["members", "key"]
)
async def test_a_lie_that_is_seen_while_looking_is_told_to_whoever_listens(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[Lie], name: str
) -> None:
    async with open_hostile_harness(all_in_one, tmp_path, kind()) as here:
        await pending_events(here.ann)
        listening = asyncio.create_task(next_event(here.ann))
        await asyncio.sleep(0)
        await here.ann.conversations.list()
        await here.ann.safety.numbers(here.bo.user_id)
        told = await asyncio.wait_for(listening, 5)

    assert told == name


async def next_event(client: Client) -> str:
    """The name of what comes next."""
    async for event in client.events():
        return event.name
    raise AssertionError("Events have no end.")


async def test_a_newcomer_of_a_group_is_told_before_anything_is_sealed_for_them(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = GhostMemberGroup()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.post_text("before", group)
        await here.begin(lie)
        await here.post_text("behind it", group)
        told = await here.event_names()
        await pending_events(here.bo, upto="behind it")

    assert lie.was_seen
    assert told & set(lie.detected_by)
    assert not here.proxy.mallory.has_read("before")


@pytest.mark.parametrize("kind", [KeyOfAnOutsider, GroupKeyOfAnOutsider], ids=lambda kind: str(kind.name))
async def test_keys_of_whoever_is_in_no_group_count_for_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[KeyOfAnOutsider]
) -> None:
    lie = kind()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.post_text("before", group)
        await here.begin(lie)
        told = await here.event_names()
        title = (await here.ann.conversations.get(group))["title"]
        said = [text for text, _ in here.history_texts(group)]

    # What the node replaced, nothing opens; the attacker's key opens nothing, either.
    assert title in (None, "walks")
    assert said == ["before"]
    assert told & set(lie.detected_by)


async def test_a_key_swapped_after_comparing_is_not_accepted_by_the_number_of_the_old_one(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = KeySwapped()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        at_bo = await here.bo.safety.number(here.ann.user_id)
        first = await compare_safety_number(here.ann, here.bo.user_id, await here.ann.safety.number(here.bo.user_id))
        await here.begin(lie)
        assert await event_after_post(here, lie)
        second = await compare_safety_number(here.ann, here.bo.user_id, at_bo, is_accepting=True)
        assert not await event_after_post(here, lie) - {"identityChanged"}

    assert (first, second) == ("", "NotCompared")


async def test_a_key_swapped_between_showing_and_comparing_is_not_the_one_that_is_kept(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = KeySwappedLater()
    async with open_hostile_harness(all_in_one, tmp_path, has_met=False) as here:
        here.chat = await here.ann.direct(here.bo.user_id)
        await here.begin(lie)
        shown, at_bo = await here.ann.safety.number(here.bo.user_id), await here.bo.safety.number(here.ann.user_id)
        said = await compare_safety_number(here.ann, here.bo.user_id, shown)
        await here.post_text(SECRET)

    assert (shown, said in ("", "NotCompared")) == (at_bo, True)
    assert lie.was_seen
    assert not here.proxy.mallory.has_read(SECRET) or said == "NotCompared"


async def test_an_old_bundle_costs_nothing_but_a_second_try(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    lie = StaleBundle()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        await here.post_text("sealed by an old bundle")
        await pending_events(here.bo, upto="sealed by an old bundle")
        told = await here.event_names()

    assert lie.was_seen
    assert told <= QUIET | set(lie.detected_by)


async def test_a_session_of_a_key_that_was_replaced_opens_nothing_and_gets_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    swap, late = KeySwapped(), OldSessionRevived()
    async with open_hostile_harness(all_in_one, tmp_path, has_met=False) as here:
        here.chat = await here.ann.direct(here.bo.user_id)
        await here.begin(swap)
        await here.post_text("sealed for the first key")
        await here.begin(late)
        await here.wait_until_acknowledged()
        here.proxy.end()
        changed = {"userId": here.proxy.known.peer, "epoch": 10, "identityChanged": True}
        await here.proxy.insert(here.proxy.notice("devicesChanged", **changed))
        await here.post_text("refused")
        assert await compare_safety_number(here.ann, here.bo.user_id, "", is_accepting=True) == ""
        late.text = "late words"
        await here.begin(late)
        await here.wait_until_acknowledged()
        await here.post_text(SECRET)
        shown = here.history_texts()

    assert here.proxy.mallory.has_read("sealed for the first key")
    assert ("late words", False) not in shown
    assert not here.proxy.mallory.has_read(SECRET)


async def test_whoever_holds_a_new_key_gets_nothing_that_was_said_to_the_old_one(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    swap, asking = KeySwapped(), RetryAfterAccept()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        await here.post_text(SECRET)
        await here.begin(swap)
        await here.post_text("refused")
        await compare_safety_number(here.ann, here.bo.user_id, "", is_accepting=True)
        await here.post_text("for the new key")
        await here.begin(asking)
        await here.wait_until_acknowledged()
        await here.post_text("behind it")

    assert asking.was_seen
    assert here.proxy.mallory.has_read("for the new key")
    assert not here.proxy.mallory.has_read(SECRET)


async def run_command(shell: CliRunner, *words: str) -> CliResult:
    """A command of Eve's, while the proxy goes on."""
    return await asyncio.to_thread(shell.run_client, "eve", *words)


async def test_a_name_is_the_account_that_it_was_and_another_one_stops_the_command(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with open_hostile_harness(all_in_one, tmp_path) as here, open_proxy(all_in_one.url) as proxy:
        eve = CliRunner(all_in_one, tmp_path)
        await here.bo.account.update(username=f"bo_{here.bo_number[1:]}")
        name, known = f"@bo_{here.bo_number[1:]}", ("--codes", str(all_in_one.otp_file), "--url", proxy.url)
        assert (await run_command(eve, "register", unused_number(), *known)).code == 0
        first = await run_command(eve, "send", name, "hello")
        await proxy.begin(UsernameReassigned())
        second = await run_command(eve, "send", name, SECRET)
        asked = await run_command(eve, "whois", name, "--refresh")
        assert (first.code, second.code, asked.code) == (0, 0, DECIDE)
        at_bo = await next_texts(here.bo, 2)

    assert at_bo == ["hello", SECRET]
    assert not [each for each in proxy.mallory.posted if each.recipient == proxy.mallory.address]


async def test_an_approval_that_is_refused_once_is_not_sealed_twice(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = PinRefusedOnce()
    async with (
        open_hostile_harness(all_in_one, tmp_path, lie) as here,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        attempt = await laptop.links.begin("a laptop")
        scanned = await here.ann.links.scan(attempt.uri)
        await attempt.code()
        with pytest.raises(Refused, match="INVALID_PIN"):
            await scanned.approve("wrong")
        await scanned.approve("right")
        await attempt.complete()

    assert len(lie.provisionings) == 2
    assert len(set(lie.provisionings)) == 1
