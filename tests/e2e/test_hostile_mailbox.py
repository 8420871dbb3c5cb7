"""The SDK against lies about its mailbox, and against a profile that comes back: what is not so is not believed, and what is lost is told."""

import shutil
from pathlib import Path

import pytest

from scripts.nodes import AllInOneProcess
from tests.hostile_node.lie import Lie
from tests.hostile_node.lies_mailbox import (
    EntryRepeated,
    Garbage,
    GarbageTwice,
    HeadForged,
    HeadsCut,
    LossBelowNothing,
    LossOfNothing,
    MessageMoved,
    Replayed,
    SyncReplayed,
    WelcomeOfAnother,
)
from tests.support.hostile_harness import QUIET, HostileHarness, open_hostile_harness, pending_events
from tests.support.sdk_clients import link_clients, next_texts, open_client
from vyry.client.store.events import Lost, Unreadable


pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    "kind", [HeadForged, HeadsCut, LossOfNothing, LossBelowNothing], ids=lambda kind: str(kind.name)
)
async def test_a_chain_that_does_not_follow_ends_the_client(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[Lie]
) -> None:
    lie = kind()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        await here.bo.send_text(here.chat, "behind it")
        await here.wait_for_text("behind it")
        told = await here.event_names()
        shown = [text for text, _ in here.history_texts()] if here.client_task.fault is None else []

    assert "behind it" not in shown
    assert told & set(lie.detected_by)


async def test_what_comes_twice_is_shown_once_and_disturbs_nothing(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_hostile_harness(all_in_one, tmp_path, EntryRepeated()) as here:
        for number in range(3):
            await here.bo.send_text(here.chat, f"to ann {number}")
            await here.post_text(f"to bo {number}")
        await here.bo.sent()
        await pending_events(here.ann, upto="to ann 2")
        told = await here.event_names()
        shown = [text for text, is_own in here.history_texts() if not is_own]
        at_bo = await next_texts(here.bo, 3)

    assert shown == ["hello Ann", "to ann 0", "to ann 1", "to ann 2"]
    assert at_bo == ["to bo 0", "to bo 1", "to bo 2"]
    assert told <= QUIET


async def test_a_message_told_in_another_conversation_is_not_lost_in_its_own(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = MessageMoved()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.begin(lie)
        await here.bo.send_text(here.chat, "come at once")
        await here.bo.sent()
        await assert_delivered_once(here, "come at once")
        elsewhere = here.history_texts(group)

    assert lie.was_seen
    assert elsewhere == []


async def assert_delivered_once(here: HostileHarness, text: str) -> None:
    """It comes once, and that it was told wrongly before is named."""
    told = await pending_events(here.ann, upto=text)
    assert [event.body["text"] for event in told if event.name == "message"] == [text]
    assert [event.conversation_id for event in told if isinstance(event, Unreadable)]


async def test_an_old_sync_of_an_own_device_says_nothing_new(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    lie = SyncReplayed()
    async with (
        open_hostile_harness(all_in_one, tmp_path) as here,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
    ):
        await link_clients(here.ann, laptop)
        for number in range(3):
            await laptop.send_text(here.chat, f"from the laptop {number}")
            await pending_events(here.ann, upto=f"from the laptop {number}")
        await here.begin(lie)
        told = await here.event_names()
        said = [text for text, is_own in here.history_texts() if is_own]

    assert lie.was_seen
    assert said == ["hello", *(f"from the laptop {number}" for number in range(3))]
    assert told <= QUIET | set(lie.detected_by) | {"ownDeviceAdded"}


@pytest.mark.parametrize("kind", [Replayed, Garbage], ids=lambda kind: str(kind.name))
async def test_bytes_of_nobody_do_not_end_a_session_in_use(
    all_in_one: AllInOneProcess, tmp_path: Path, kind: type[Lie]
) -> None:
    lie = kind()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        await exchange_messages(here)
        posted = len(here.proxy.mallory.posted)
        await here.begin(lie)
        await here.post_text("in the same session")
        told = await here.event_names()
        kinds = {each.content[1] for each in here.proxy.mallory.posted[posted:]}

    assert lie.was_seen
    assert kinds == {2}
    assert told <= QUIET | set(lie.detected_by)


async def test_garbage_that_comes_again_costs_one_session_and_no_word(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = GarbageTwice()
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        await exchange_messages(here)
        await here.begin(lie)
        await here.post_text("in another session")
        await here.bo.send_text(here.chat, "heard in it")
        await pending_events(here.ann, upto="heard in it")
        at_bo = (await next_texts(here.bo, 9))[-1]

    assert lie.was_seen
    assert at_bo == "in another session"


async def exchange_messages(here: HostileHarness) -> None:
    """They are deep in a session."""
    for number in range(8):
        await here.post_text(f"to bo {number}")
        await here.bo.send_text(here.chat, f"to ann {number}")
        await pending_events(here.ann, upto=f"to ann {number}")


async def test_a_welcome_that_names_what_was_never_posted_costs_new_keys_and_nothing_else(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    lie = WelcomeOfAnother()
    async with open_hostile_harness(all_in_one, tmp_path, lie) as here:
        await here.restart_ann()
        await here.post_text("after it")
        told = await pending_events(here.ann)
        await pending_events(here.bo, upto="after it")

    assert lie.was_seen
    assert [event.reason for event in told if isinstance(event, Lost)] == ["rolledBack"]


@pytest.mark.parametrize("has_mail", [False, True], ids=["no mail since", "mail since"])
async def test_a_profile_that_was_copied_is_told_that_it_is_old(
    all_in_one: AllInOneProcess, tmp_path: Path, has_mail: bool
) -> None:
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        await here.close_ann()
        shutil.copytree(tmp_path / "ann", tmp_path / "copy")
        await here.open_ann()
        if has_mail:
            await here.bo.send_text(here.chat, "since")
            await pending_events(here.ann, upto="since")
        await here.post_text("one: the vault code is 4711")
        await here.close_ann()
        await here.open_ann("copy")
        await here.post_text("two: see you at the station")
        await here.wait_until_acknowledged()
        told = await pending_events(here.ann)
        contents = {each.content[:50] for each in here.proxy.mallory.posted if each.content[1] == 2}
        twice = len([each for each in here.proxy.mallory.posted if each.content[1] == 2]) - len(contents)

    assert [event.reason for event in told if isinstance(event, Lost)] == ["rolledBack"]
    assert twice == 0


async def test_what_a_copied_profile_says_comes(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_hostile_harness(all_in_one, tmp_path) as here:
        await here.close_ann()
        shutil.copytree(tmp_path / "ann", tmp_path / "copy")
        await here.open_ann()
        await here.post_text("one")
        await here.close_ann()
        await here.open_ann("copy")
        await here.post_text("two")

        assert await next_texts(here.bo, 2) == ["one", "two"]
