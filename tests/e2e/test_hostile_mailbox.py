"""The SDK against lies about its mailbox, and against a profile that comes back: what is not so is not believed, and what is lost is told."""

import shutil
from pathlib import Path

import pytest

from scripts.nodes import Alone
from tests.e2e.hostile import QUIET, Room, heard, room
from tests.e2e.test_client_linking import link
from tests.e2e.test_sdk import open_at, texts
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
from vyry.client.events import Lost, Unreadable


pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    "kind", [HeadForged, HeadsCut, LossOfNothing, LossBelowNothing], ids=lambda kind: str(kind.name)
)
async def test_a_chain_that_does_not_follow_ends_the_client(alone: Alone, tmp_path: Path, kind: type[Lie]) -> None:
    lie = kind()
    async with room(alone, tmp_path, lie) as here:
        await here.bo.send_text(here.chat, "behind it")
        await here.reads("behind it")
        told = await here.told()
        shown = [text for text, _ in here.texts()] if here.held.fault is None else []

    assert "behind it" not in shown
    assert told & set(lie.tells)


async def test_what_comes_twice_is_shown_once_and_disturbs_nothing(alone: Alone, tmp_path: Path) -> None:
    async with room(alone, tmp_path, EntryRepeated()) as here:
        for number in range(3):
            await here.bo.send_text(here.chat, f"to ann {number}")
            await here.say(f"to bo {number}")
        await here.bo.sent()
        await heard(here.ann, upto="to ann 2")
        told = await here.told()
        shown = [text for text, is_own in here.texts() if not is_own]
        at_bo = await texts(here.bo, 3)

    assert shown == ["hello Ann", "to ann 0", "to ann 1", "to ann 2"]
    assert at_bo == ["to bo 0", "to bo 1", "to bo 2"]
    assert told <= QUIET


async def test_a_message_told_in_another_conversation_is_not_lost_in_its_own(alone: Alone, tmp_path: Path) -> None:
    lie = MessageMoved()
    async with room(alone, tmp_path) as here:
        group = await here.ann.groups.create([here.bo.user_id], "walks")
        await here.begin(lie)
        await here.bo.send_text(here.chat, "come at once")
        await here.bo.sent()
        await heard_somehow(here, "come at once")
        elsewhere = here.texts(group)

    assert lie.was_seen
    assert elsewhere == []


async def heard_somehow(here: Room, text: str) -> None:
    """It comes once, and that it was told wrongly before is named."""
    told = await heard(here.ann, upto=text)
    assert [event.body["text"] for event in told if event.name == "message"] == [text]
    assert [event.conversation_id for event in told if isinstance(event, Unreadable)]


async def test_an_old_sync_of_an_own_device_says_nothing_new(alone: Alone, tmp_path: Path) -> None:
    lie = SyncReplayed()
    async with room(alone, tmp_path) as here, open_at(alone, tmp_path / "laptop") as laptop:
        await link(here.ann, laptop)
        for number in range(3):
            await laptop.send_text(here.chat, f"from the laptop {number}")
            await heard(here.ann, upto=f"from the laptop {number}")
        await here.begin(lie)
        told = await here.told()
        said = [text for text, is_own in here.texts() if is_own]

    assert lie.was_seen
    assert said == ["hello", *(f"from the laptop {number}" for number in range(3))]
    assert told <= QUIET | set(lie.tells) | {"ownDeviceAdded"}


@pytest.mark.parametrize("kind", [Replayed, Garbage], ids=lambda kind: str(kind.name))
async def test_bytes_of_nobody_do_not_end_a_session_in_use(alone: Alone, tmp_path: Path, kind: type[Lie]) -> None:
    lie = kind()
    async with room(alone, tmp_path) as here:
        await talked(here)
        posted = len(here.proxy.mallory.posted)
        await here.begin(lie)
        await here.say("in the same session")
        told = await here.told()
        kinds = {each.content[1] for each in here.proxy.mallory.posted[posted:]}

    assert lie.was_seen
    assert kinds == {2}
    assert told <= QUIET | set(lie.tells)


async def test_garbage_that_comes_again_costs_one_session_and_no_word(alone: Alone, tmp_path: Path) -> None:
    lie = GarbageTwice()
    async with room(alone, tmp_path) as here:
        await talked(here)
        await here.begin(lie)
        await here.say("in another session")
        await here.bo.send_text(here.chat, "heard in it")
        await heard(here.ann, upto="heard in it")
        at_bo = (await texts(here.bo, 9))[-1]

    assert lie.was_seen
    assert at_bo == "in another session"


async def talked(here: Room) -> None:
    """They are deep in a session."""
    for number in range(8):
        await here.say(f"to bo {number}")
        await here.bo.send_text(here.chat, f"to ann {number}")
        await heard(here.ann, upto=f"to ann {number}")


async def test_a_welcome_that_names_what_was_never_posted_costs_new_keys_and_nothing_else(
    alone: Alone, tmp_path: Path
) -> None:
    lie = WelcomeOfAnother()
    async with room(alone, tmp_path, lie) as here:
        await here.restart_ann()
        await here.say("after it")
        told = await heard(here.ann)
        await heard(here.bo, upto="after it")

    assert lie.was_seen
    assert [event.reason for event in told if isinstance(event, Lost)] == ["rolledBack"]


@pytest.mark.parametrize("has_mail", [False, True], ids=["no mail since", "mail since"])
async def test_a_profile_that_was_copied_is_told_that_it_is_old(alone: Alone, tmp_path: Path, has_mail: bool) -> None:
    async with room(alone, tmp_path) as here:
        await here.close_ann()
        shutil.copytree(tmp_path / "ann", tmp_path / "copy")
        await here.open_ann()
        if has_mail:
            await here.bo.send_text(here.chat, "since")
            await heard(here.ann, upto="since")
        await here.say("one: the vault code is 4711")
        await here.close_ann()
        await here.open_ann("copy")
        await here.say("two: see you at the station")
        await here.settle()
        told = await heard(here.ann)
        contents = {each.content[:50] for each in here.proxy.mallory.posted if each.content[1] == 2}
        twice = len([each for each in here.proxy.mallory.posted if each.content[1] == 2]) - len(contents)

    assert [event.reason for event in told if isinstance(event, Lost)] == ["rolledBack"]
    assert twice == 0


async def test_what_a_copied_profile_says_comes(alone: Alone, tmp_path: Path) -> None:
    async with room(alone, tmp_path) as here:
        await here.close_ann()
        shutil.copytree(tmp_path / "ann", tmp_path / "copy")
        await here.open_ann()
        await here.say("one")
        await here.close_ann()
        await here.open_ann("copy")
        await here.say("two")

        assert await texts(here.bo, 2) == ["one", "two"]
