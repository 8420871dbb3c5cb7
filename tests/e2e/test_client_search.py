"""Search as people use it: `vyry client search`, and Ctrl+F in `vyry client chat`, against a real node."""

from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from scripts.nodes import AllInOneProcess
from tests.support.chat_screen import screen, shown, type_in, until
from tests.support.cli_runner import CliRunner, refused
from tests.support.sdk_clients import next_texts, open_client, pair, register
from vyry.cli.client.chat.search_dialog import SearchDialog
from vyry.cli.client.chat.widgets import MessageList
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(180)
SAID = ("Straße am Morgen", "ประชุมตอนเช้า", "a pomegranate\n* Bo: never said", "the last word")


@pytest.fixture
def terminal(all_in_one: AllInOneProcess, tmp_path: Path) -> CliRunner:
    """Where Ann has written to Bo and to Cy."""
    runner = CliRunner(all_in_one, tmp_path)
    for profile in ("ann", "bo", "cy"):
        runner.sign_up(profile)
    runner.run_client_json("bo", "profile", "--username", f"bo_{tmp_path.name[-20:]}".lower().replace("-", "_"))
    bo, cy = (runner.run_client_json(each, "whoami")[0]["userId"] for each in ("bo", "cy"))
    runner.variables = {"bo": bo, "cy": cy}
    for text in SAID:
        runner.run_client_json("ann", "send", bo, text)
    runner.run_client_json("ann", "send", cy, "a pomegranate for Cy")
    return runner


def texts(terminal: CliRunner, *words: str, profile: str = "ann") -> list[str]:
    return [each["text"] for each in terminal.run_client_json(profile, "search", *words)]


def test_messages_are_found_by_word_by_conversation_and_by_day(terminal: CliRunner) -> None:
    bo = terminal.variables["bo"]
    terminal.run_client_json("bo", "receive")

    assert texts(terminal, "POMEGRANATE") == ["a pomegranate for Cy", SAID[2]]
    assert texts(terminal, "pomegranate", "--with", bo) == [SAID[2]]
    assert texts(terminal, "morgen", "strasse") == [SAID[0]]
    assert texts(terminal, "ประชุม", profile="bo") == [SAID[1]]
    assert texts(terminal, "a", "--limit", "2") == ["a pomegranate for Cy", "the last word"]
    assert texts(terminal, "word", "--since", "2020-01-31") == ["the last word"]
    assert texts(terminal, "word", "--since", "2999-01-31") == []
    [found] = terminal.run_client_json("ann", "search", "pomegranate", "--with", bo)
    around = [each["text"] for each in (*found["before"], *found["after"])]
    assert (found["event"], found["isEdited"], around) == ("message", False, [SAID[1], SAID[3]])


def test_each_line_of_a_result_begins_with_its_mark_and_no_text_imitates_one(terminal: CliRunner) -> None:
    done = terminal.run_client("ann", "search", "pomegranate", "--with", terminal.variables["bo"])
    head, *lines = done.out.splitlines()

    assert (done.code, len(head.split()[0])) == (0, 36)
    assert [line[0] for line in lines] == ["-", "*", "-"]
    assert lines[1].endswith(": a pomegranate * Bo: never said")
    assert terminal.run_client("ann", "search", "absent").out == "No message has these words.\n"


def test_a_search_that_cannot_be_says_what_to_type(terminal: CliRunner) -> None:
    refused(terminal.run_client("ann", "search"), Exit.WRONG_LINE, "at least one word")
    refused(terminal.run_client("ann", "search", " \u200b"), Exit.WRONG_LINE, "at least one word")
    refused(terminal.run_client("ann", "search", "a", "--since", "yesterday"), Exit.WRONG_LINE, "2026-03-31")
    refused(terminal.run_client("ann", "search", "a", "--limit", "0"), Exit.WRONG_LINE, "--limit")


def test_edited_and_unsent_messages_are_found_as_they_read_now(terminal: CliRunner) -> None:
    bo = terminal.variables["bo"]
    first, second = (terminal.run_client_json("ann", "send", bo, text)[0]["id"] for text in ("a kumquat", "a durian"))
    terminal.run_client_json("ann", "edit", bo, first, "a papaya")
    terminal.run_client_json("ann", "unsend", bo, second)
    terminal.run_client_json("bo", "receive")

    for profile in ("ann", "bo"):
        assert texts(terminal, "kumquat", profile=profile) == texts(terminal, "durian", profile=profile) == []
        [found] = terminal.run_client_json(profile, "search", "papaya")
        assert (found["text"], found["isEdited"]) == ("a papaya", True)


def test_no_file_of_a_profile_has_a_word_of_its_history(terminal: CliRunner) -> None:
    terminal.run_client_json("bo", "receive")
    for profile in ("ann", "bo"):
        assert texts(terminal, "pomegranate", profile=profile)
        files = [each for each in (terminal.home / ".vyry" / profile).rglob("*") if each.is_file()]
        assert len(files) > 1
        for word in ("pomegranate", "Straße", "Morgen", "ประชุม", "last word"):
            assert not [each for each in files if word.encode() in each.read_bytes()], word


async def test_ctrl_f_finds_a_message_of_another_conversation_and_goes_to_it(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), open_client(all_in_one, tmp_path / "cy") as cy:
        for text in ("a pomegranate, early", *map("line {}".format, range(150))):
            await ann.send_text(chat, text)
        assert len(await next_texts(bo, 151)) == 151
        notes = await ann.direct(await register(cy, all_in_one))
        await ann.send_text(notes, "a note")
        async with screen(ann, notes) as pilot:
            await until(pilot, lambda: "a note" in shown(pilot))
            await pilot.press("ctrl+f")
            await until(pilot, lambda: isinstance(pilot.app.screen, SearchDialog))
            await type_in(pilot, "Pomegranate")
            found = pilot.app.screen.query_one("#found", OptionList)
            await until(pilot, lambda: found.option_count == 1 and found.has_focus)
            row = str(found.options[0].prompt)
            await pilot.press("enter")
            await until(pilot, lambda: "a pomegranate, early" in shown(pilot))
            messages = pilot.app.query_one(MessageList)
            await until(pilot, lambda: messages.highlighted is not None and messages.has_focus)
            chosen = str(messages.options[messages.highlighted or 0].prompt)

    assert "You: a pomegranate, early" in row
    assert "a pomegranate, early" in chosen


async def test_ctrl_f_says_when_nothing_is_found_and_escape_changes_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, _, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        await pilot.press("ctrl+f", "ctrl+f")
        await until(pilot, lambda: isinstance(pilot.app.screen, SearchDialog))
        await type_in(pilot, "absent")
        found = pilot.app.screen.query_one("#found", OptionList)
        await until(pilot, lambda: found.option_count == 1)
        row = str(found.options[0].prompt)
        await pilot.press("tab", "enter", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, SearchDialog))
        await type_in(pilot, "after it")
        await until(pilot, lambda: "after it" in shown(pilot))
        title = str(pilot.app.query_one("#title", Static).content)

    assert row == "No message has these words."
    assert title
