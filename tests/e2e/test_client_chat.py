"""`vyry client chat`: what people see and type on the whole screen, against a real node."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from textual.widgets import Input, Static

from scripts.nodes import AllInOneProcess
from tests.support.chat_screen import Screen, screen, shown, type_in, until
from tests.support.cli_runner import CliRunner
from tests.support.sdk_clients import events_until, next_texts, pair
from vyry.cli.client.chat.widgets import MessageList
from vyry.cli.client.exit_codes import Exit
from vyry.client.api.client import Client
from vyry.client.store.events import Message, Reaction, Receipt, Unsend


pytestmark = pytest.mark.timeout(120)
HOSTILE = "[red]x[/red] \x1b[2J\x07 \u202eabc " + "long " * 2_000


async def test_what_is_typed_is_sent_and_what_comes_is_shown_and_told_as_read(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, None) as pilot:
        await until(pilot, lambda: "hello" in shown(pilot))
        await bo.messages.typing(chat)
        await until(pilot, lambda: "is typing" in str(pilot.app.query_one("#typing", Static).content))
        said = await bo.send_text(chat, "look here")
        await until(pilot, lambda: "look here" in shown(pilot))
        await type_in(pilot, "I see")
        receipts = await read_receipt(bo)
        await bo.messages.read(chat, bo.conversations.unread(chat))
        await until(pilot, lambda: "✓✓ read" in shown(pilot))
        bo_history = bo.conversations.history(chat)

    assert said in receipts
    assert [event.body["text"] for event in bo_history][-2:] == ["look here", "I see"]


async def read_receipt(client: Client) -> list[UUID]:
    """What was told as read, once a message has come, too."""
    read: list[UUID] = []
    is_answered = False
    async with asyncio.timeout(20):
        async for event in client.events():
            is_answered |= isinstance(event, Message)
            read += event.targets if isinstance(event, Receipt) and event.state == "read" else ()
            if is_answered and len(read) == 2:
                break
    return read


async def test_messages_are_answered_changed_taken_back_and_reacted_to(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        pilot.app.query_one(MessageList).focus()
        await pilot.press("r")
        await type_in(pilot, "an answer")
        answer = (await events_until(bo, Message))[-1]
        await until(pilot, lambda: "an answer" in shown(pilot))
        pilot.app.query_one(MessageList).focus()
        await pilot.press("end", "e", "exclamation_mark", "enter")
        await until(pilot, lambda: "(edited)" in shown(pilot))
        pilot.app.query_one(MessageList).focus()
        await pilot.press("end", "up", "plus")
        await pilot.press("enter")
        reaction = (await events_until(bo, Reaction))[-1]
        pilot.app.query_one(MessageList).focus()
        await pilot.press("end", "u")
        await until(pilot, lambda: "message unsent" in shown(pilot))
        unsent = (await events_until(bo, Unsend))[-1]

    assert answer.body["replyTo"]["senderId"] == reaction.body["target"]["senderId"]
    assert (reaction.body["emoji"], unsent.body["target"]["id"]) == ("👍", answer.body["id"])


async def test_escape_in_the_box_of_reactions_changes_none(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        pilot.app.query_one(MessageList).focus()
        await pilot.press("end", "plus")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        await ann.send_text(chat, "no reaction")
        came = await events_until(bo, Message)

    assert not [event for event in came if isinstance(event, Reaction)]


async def test_words_of_others_neither_paint_nor_steer_the_terminal(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await bo.account.update(displayName="[b]Bo\u202e")
        await bo.send_text(chat, HOSTILE)
        await until(pilot, lambda: "characters)" in shown(pilot))
        text = shown(pilot)

    assert "[red]x[/red]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert len(text) < len(HOSTILE)


async def test_files_go_and_come_and_safety_numbers_are_compared(
    all_in_one: AllInOneProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved" / "notes.txt"
    (tmp_path / "notes.txt").write_text("some notes")
    saved.parent.mkdir()
    monkeypatch.chdir(saved.parent)
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        await bo.files.send(chat, tmp_path / "notes.txt")
        await until(pilot, lambda: "[notes.txt, 10 bytes]" in shown(pilot))
        pilot.app.query_one(MessageList).focus()
        await pilot.press("end", "s", "enter")
        await until(pilot, saved.exists)
        await pilot.press("ctrl+o")
        await type_in(pilot, "notes.txt")
        sent = (await events_until(bo, Message))[-1]
        await pilot.press("ctrl+t")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
        pilot.app.screen.query_one(Input).value = await bo.safety.number(ann.user_id)
        await pilot.press("enter")
        await until(pilot, lambda: ann.safety.is_verified(bo.user_id))

    assert sent.body["attachments"][0]["fileName"] == "notes.txt"
    assert saved.read_text() == "some notes"


async def test_a_node_that_goes_away_is_told_and_what_is_written_is_sent_later(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        state = pilot.app.query_one("#state", Static)
        await until(pilot, lambda: str(state.content) == "Connected")
        await asyncio.to_thread(all_in_one.kill)
        await until(pilot, lambda: "Not connected" in str(state.content))
        await type_in(pilot, "meanwhile")
        await asyncio.to_thread(all_in_one.start)
        assert await next_texts(bo, 1) == ["meanwhile"]


async def test_it_runs_in_a_real_terminal_and_leaves_it_as_it_was(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    terminal = CliRunner(all_in_one, tmp_path)
    ann, bo = await asyncio.to_thread(terminal.sign_up, "ann"), await asyncio.to_thread(terminal.sign_up, "bo")
    real = Screen(tmp_path, bo, "--profile", "ann")

    await real.shows(b"\x1b[?1049h")
    await real.shows(b"Connected")
    real.press(b"hello-Bo\r")
    heard = ""
    async with asyncio.timeout(30):
        while "hello-Bo" not in heard:
            heard = (await asyncio.to_thread(terminal.run_client, "bo", "receive")).out
    await asyncio.to_thread(terminal.run_client, "bo", "send", ann, "hello-Ann")
    await real.shows(b"hello-Ann")
    real.press(b"\x11")

    assert await real.ended() == 0
    assert b"\x1b[?1049l" in real.seen


def test_without_a_terminal_it_says_what_to_take(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    done = CliRunner(all_in_one, tmp_path).run_client("ann", "chat")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")
    assert "receive --json" in done.err
