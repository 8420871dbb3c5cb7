"""`vyry client chat` while something has to be decided: it is shown in the list, the title and the conversation, and numbers are compared by typed digits."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from scripts.nodes import AllInOneProcess
from tests.support.chat_screen import screen, shown, type_in, until
from tests.support.friendship import befriend
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import next_texts, open_client, pair, register
from vyry.cli.client.chat.screen import ChatApp
from vyry.cli.client.safety_numbers import NEW_NUMBER_TITLE, OLD_NUMBER_TITLE
from vyry.client.api.client import Client
from vyry.client.store.events import MemberAdded, OwnIdentityForged


pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def identity_changed_chat(
    all_in_one: AllInOneProcess, folder: Path
) -> AsyncIterator[tuple[Client, Client, UUID, str]]:
    """Ann, the new device of Bo, whose old one she has written to, their conversation, and the old number."""
    number = unused_number()
    async with open_client(all_in_one, folder / "ann") as ann:
        await register(ann, all_in_one)
        async with open_client(all_in_one, folder / "bo") as bo:
            chat = await ann.direct(await register(bo, all_in_one, number))
            await ann.send_text(chat, "hello")
            assert await next_texts(bo, 1) == ["hello"]
            old = await ann.safety.number(bo.user_id)
        async with open_client(all_in_one, folder / "anew") as anew:
            await register(anew, all_in_one, number)
            yield ann, anew, chat, old


def dialog_text(pilot: Pilot[None]) -> str:
    """What the open box asks."""
    return str(pilot.app.screen.query_one(Static).content)


async def compare(pilot: Pilot[None], digits: str) -> None:
    """Open the box of numbers and type these digits."""
    await pilot.press("ctrl+t")
    await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
    pilot.app.screen.query_one(Input).value = digits
    await pilot.press("enter")
    await until(pilot, lambda: len(pilot.app.screen_stack) == 1)


def toast_texts(pilot: Pilot[None]) -> str:
    """What was said in lines that stay for a while."""
    return "\n".join(str(each.message) for each in pilot.app._notifications)


def all_texts(pilot: Pilot[None]) -> str:
    """The chats, the title and the history, in lower case."""
    return f"{shown(pilot)}{shown(pilot, '#chats')}{pilot.app.query_one('#title', Static).content}".lower()


async def test_a_changed_key_is_shown_wherever_one_looks_until_it_is_accepted(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with identity_changed_chat(all_in_one, tmp_path) as (ann, anew, chat, old), screen(ann, chat) as pilot:
        title = pilot.app.query_one("#title", Static)
        await until(pilot, lambda: "hello" in shown(pilot))
        await type_in(pilot, "is it you?")
        await until(pilot, lambda: "1 message is waiting to be sent" in shown(pilot))
        await until(pilot, lambda: "has changed; 1 message is waiting" in shown(pilot, "#chats"))
        assert "has changed" in str(title.content)
        assert "waits\n  is it you?" in shown(pilot)
        assert "Press Ctrl+T to compare" in shown(pilot).splitlines()[-1]
        await pilot.press("ctrl+t")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
        asked = dialog_text(pilot)
        await pilot.press("escape")
        await compare(pilot, old)
        await until(pilot, lambda: "old safety number" in toast_texts(pilot))
        await compare(pilot, await anew.safety.number(ann.user_id))
        assert await next_texts(anew, 1) == ["is it you?"]
        await until(pilot, lambda: "decision needed" not in all_texts(pilot))
        assert ann.safety.is_verified(anew.user_id)

    assert (OLD_NUMBER_TITLE in asked, NEW_NUMBER_TITLE in asked) == (True, True)


async def test_digits_that_do_not_fit_note_nothing(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        await compare(pilot, "1" * 60)
        await until(pilot, lambda: "digits do not match" in toast_texts(pilot))
        assert not ann.safety.is_verified(bo.user_id)
        await compare(pilot, f" {await bo.safety.number(ann.user_id)} ")
        await until(pilot, lambda: "Marked as verified" in toast_texts(pilot))
        assert ann.safety.is_verified(bo.user_id)


async def test_what_waits_is_shown_after_a_restart_too(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with identity_changed_chat(all_in_one, tmp_path) as (ann, _, chat, _old):
        await ann.send_text(chat, "is it you?")
        await ann.sent()
        assert [each.name async for each in ann.events(follow=False)]
        before = ann.conversations.decisions.all()
    async with open_client(all_in_one, tmp_path / "ann") as ann, screen(ann, None) as pilot:
        await until(pilot, lambda: "1 message is waiting to be sent" in shown(pilot))
        assert ann.conversations.decisions.all() == before

    assert [each.body["waiting"] for each in before] == [1]


async def test_a_new_member_is_shown_in_the_group(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, _), open_client(all_in_one, tmp_path / "eve") as eve:
        await register(eve, all_in_one)
        await befriend(ann, eve)
        group = await ann.groups.create([bo.user_id], "walks")
        await ann.send_text(group, "first")
        assert await next_texts(bo, 1) == ["first"]
        await bo.sent()
        await ann.groups.add(group, [eve.user_id])
        await ann.send_text(group, "welcome")
        async with screen(bo, group) as pilot:
            await until(pilot, lambda: "welcome" in shown(pilot))
            await until(pilot, lambda: "was added to the group" in shown(pilot))
            rows = shown(pilot)
        added = [each.user_id for each in bo.conversations.history(group) if isinstance(each, MemberAdded)]
        assert added == [eve.user_id]

    assert "not verified" in rows


async def test_forged_keys_of_ones_own_account_stay_below_everything(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        app = pilot.app
        assert isinstance(app, ChatApp)
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        app.model.record_event(OwnIdentityForged(source="list", device_id=9))
        for each in ("one", "two"):
            await bo.send_text(chat, each)
            await until(pilot, lambda: each in shown(pilot))  # noqa: B023
            assert "keys for your account" in shown(pilot).splitlines()[-1]


def add_member(all_in_one: AllInOneProcess, chat: UUID, user_id: UUID) -> None:
    """The operator changes the node's database: another member of a direct conversation."""
    file = next(all_in_one.folder.rglob("vyry.db"))
    with sqlite3.connect(file, timeout=10) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(member)") if row[1] != "id"]
        chosen = ", ".join(f"'{user_id}'" if each == "account_id" else each for each in columns)
        database.execute(
            f"INSERT INTO member ({', '.join(columns)}) SELECT {chosen} FROM member WHERE conversation_id = ? LIMIT 1",
            (str(chat),),
        )
        database.execute("UPDATE conversation SET version = version + 1 WHERE id = ?", (str(chat),))


async def test_another_member_of_a_direct_conversation_stops_it_and_is_shown(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), open_client(all_in_one, tmp_path / "eve") as eve:
        await register(eve, all_in_one)
        add_member(all_in_one, chat, eve.user_id)
        told = await bo.conversations.get(chat)
        await bo._rest.call(
            "PATCH", f"/conversations/{chat}", {"version": told["version"], "messageTimerSeconds": 86_400}
        )
        async with screen(ann, chat) as pilot:
            await until(pilot, lambda: "for this conversation than before" in shown(pilot))
            await type_in(pilot, "the key is under the stone")
            await until(pilot, lambda: "1 message is waiting to be sent" in shown(pilot, "#chats"))
        decisions = ann.conversations.decisions.of(chat)
        read = [each.name async for each in eve.events(follow=False)]

    assert [each.body for each in decisions] == [
        {"decide": "conversationForged", "conversationId": str(chat), "waiting": 1, "held": 0}
    ]
    assert "message" not in read
