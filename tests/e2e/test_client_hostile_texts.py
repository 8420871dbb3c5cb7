"""What somebody else wrote, on the screen of real commands: names, titles, texts, devices and refusals make no line, prompt or username of another person."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.nodes import AllInOneProcess
from tests.support.cli_runner import CliResult, CliRunner
from tests.support.rest_device import unused_number
from tests.unit.vyry.cli.test_terminal_escaping import HOSTILE, is_harmless
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(240)
WROTE = HOSTILE.replace("\0", "")


@pytest.fixture
def eve(all_in_one: AllInOneProcess, tmp_path: Path) -> tuple[CliRunner, str, str]:
    """Eve wrote to Ann, in a group too, under a name and with words that are made to deceive; answers both ids."""
    terminal = CliRunner(all_in_one, tmp_path)
    ann, eve = terminal.sign_up("ann"), terminal.sign_up("eve")
    terminal.run_client_json(
        "eve", "profile", "--name", "@bo_lee", "--bio", WROTE, "--sealed-name", WROTE, "--about", WROTE
    )
    terminal.run_client_json("eve", "devices", "rename", "1", WROTE[:90])
    terminal.run_client_json("eve", "friends", "add", ann)
    group = terminal.run_client_json("eve", "groups", "create", WROTE[:120], ann)[0]["conversationId"]
    terminal.run_client_json("ann", "groups", "accept", group)
    for to in (ann, group):
        said = terminal.run_client_json("eve", "send", to, WROTE)[0]["id"]
        terminal.run_client_json("eve", "react", to, said, WROTE[:60])
        terminal.run_client_json("eve", "edit", to, said, WROTE)
    return terminal, ann, eve


def is_told_apart(run: CliResult) -> None:
    """No line begins as if the owner of the username had said it, and nothing steers."""
    assert run.code == Exit.DONE, run
    assert is_harmless(run.out + run.err)
    assert [line for line in run.out.splitlines() if line.startswith("@")] == []


def test_no_command_prints_a_line_of_somebody_who_said_nothing(eve: tuple[CliRunner, str, str]) -> None:
    terminal, _, user_id = eve
    group = next(each["conversationId"] for each in terminal.run_client_json("ann", "chats") if each["kind"] == "group")
    for words in (
        ("receive",),
        ("history", user_id),
        ("history", group),
        ("chats",),
        ("friends", "requests"),
        ("groups", "members", group),
        ("profile", user_id),
        ("whois", user_id),
    ):
        is_told_apart(terminal.run_client("ann", *words))
    is_told_apart(terminal.run_client("eve", "devices", "list"))


def test_a_chosen_name_that_looks_like_a_username_stands_in_quotes(eve: tuple[CliRunner, str, str]) -> None:
    terminal, _, user_id = eve

    heard = terminal.run_client("ann", "receive").out

    assert f"({user_id[-8:]}): " in heard
    assert all(not line.startswith("@") for line in heard.splitlines())


def test_the_node_keeps_names_that_fit_a_line_and_says_which_field_does_not(eve: tuple[CliRunner, str, str]) -> None:
    terminal, *_ = eve
    (shown,) = terminal.run_client_json("eve", "profile", "--name", " Amelie\u0301 \u202e\n Lee ")

    refused = {
        field: terminal.run_client("eve", "profile", flag, words)
        for field, flag, words in (
            ("displayName", "--name", "\u00e9" * 101),
            ("displayName", "--name", "\u200b\u3164"),
            ("bio", "--bio", "x" * 501),
            ("name", "--sealed-name", "x" * 101),
            ("about", "--about", "x" * 501),
            ("username", "--username", "bo lee"),
        )
    }

    assert shown["displayName"] == "Ameli\u00e9 Lee"
    assert all(f"{field}: " in run.err and len(run.err.splitlines()) == 1 for field, run in refused.items())
    assert "101" in terminal.run_client("eve", "profile", "--name", "\u00e9" * 101).err


def test_objects_for_programs_stay_on_one_line(eve: tuple[CliRunner, str, str]) -> None:
    terminal, *_ = eve

    out = terminal.run_client("ann", "receive", "--json").out

    assert is_harmless(out)
    texts = [told.get("text") for told in map(json.loads, out.splitlines()) if told["event"] == "message"]
    assert texts == [WROTE, WROTE]


def test_a_message_that_is_too_long_says_so_in_characters(eve: tuple[CliRunner, str, str]) -> None:
    terminal, _, user_id = eve

    refused = terminal.run_client("ann", "send", user_id, typed="\u5b57" * 30_000)

    assert (
        refused.err
        == "vyry: text: a message can have about 21,000 of these characters; this one has 30,000. Send it as a file.\n"
    )


@asynccontextmanager
async def lying_node() -> AsyncIterator[str]:
    """Refuses everything, with words that are made to deceive."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": WROTE, "error_code": WROTE, "request_id": WROTE}, status=403)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", refuse)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_what_a_node_says_when_it_refuses_is_one_line_that_steers_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    terminal = CliRunner(all_in_one, tmp_path)
    async with lying_node() as url:
        known = ("--codes", str(all_in_one.otp_file), "--url", url)
        refused = await asyncio.to_thread(terminal.run_client, "new", "register", unused_number(), *known)

    assert refused.code == Exit.REFUSED
    assert len(refused.err.splitlines()) == 1
    assert is_harmless(refused.err)
