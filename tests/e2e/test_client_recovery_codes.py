"""The recovery code on the command line: it is shown whatever happens after the account exists, and it resets a PIN."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def node() -> Iterator[AllInOneProcess]:
    with AllInOneProcess({"VYRY_MEMBER_INVITES": "50"}) as started:
        yield started


@pytest.fixture
def terminal(node: AllInOneProcess, tmp_path: Path) -> CliRunner:
    return CliRunner(node, tmp_path)


def invitation(terminal: CliRunner) -> str:
    """A link with the contact of its inviter, for one account."""
    terminal.sign_up("host")
    return str(terminal.run_client_json("host", "invite")[0]["link"])


def with_another_key(link: str) -> str:
    """The same link with another hash of the inviter's key."""
    before, contact, rest = link.partition("contact=")
    user_id, _, behind = rest.partition(".")
    return f"{before}{contact}{user_id}.{'0' * 32}{behind[32:]}"


def test_a_join_by_a_link_of_another_key_warns_and_still_prints_the_code(terminal: CliRunner) -> None:
    link = with_another_key(invitation(terminal))

    done = terminal.run_client("ann", "join", link, "--json")

    [found] = done.json_objects
    assert (done.code, found["decide"]) == (Exit.DECIDE, "contactDiffers")
    assert "WARNING: the node reports another key" in done.err
    code_file = terminal.home / "code"
    code_file.write_text(found["recoveryCode"])
    me = terminal.run_client_json("ann", "whoami")[0]["userId"]
    known = ("--url", terminal.node.url, "--code-file", str(code_file))
    assert terminal.run_client_json("again", "recover", me, *known)[0]["userId"] == me


def test_a_forgotten_pin_is_reset_by_the_recovery_code(terminal: CliRunner) -> None:
    code = terminal.run_client_json("ann", "join", invitation(terminal))[0]["recoveryCode"]
    old, new, code_file = (terminal.home / name for name in ("old", "new", "code"))
    old.write_text("482913")
    new.write_text("739105")
    code_file.write_text(code)
    terminal.run_client_json("ann", "pin", "set", "--pin-file", str(old))

    mistyped = terminal.run_client("ann", "pin", "reset", "--pin-file", str(new), typed=f"{code[:-1]}U\n")
    given = ("--code-file", str(code_file), "--pin-file", str(new))
    reset = terminal.run_client_json("ann", "pin", "reset", *given)[0]

    assert (mistyped.code, reset["isSet"]) == (Exit.FAILED, True)
    assert terminal.run_client("ann", "pin", "remove", "--pin-file", str(old)).code == Exit.REFUSED
    assert terminal.run_client("ann", "pin", "remove", "--pin-file", str(new)).code == Exit.DONE


def test_a_wrong_recovery_code_is_asked_for_again_with_the_attempts_left(terminal: CliRunner) -> None:
    code = terminal.run_client_json("ann", "join", invitation(terminal))[0]["recoveryCode"]
    other = terminal.run_client_json("ann", "recovery-code")[0]["recoveryCode"]
    new = terminal.home / "new"
    new.write_text("739105")

    words = ("client", "pin", "reset", "--pin-file", str(new), "--profile", "ann")
    done = terminal.run(*words, typed=f"{code}\n{other}\n", is_person=True)

    assert done.code == Exit.DONE, done
    assert "The recovery code or the name is wrong; attempts left: 4." in done.err


@asynccontextmanager
async def without_answers(node: AllInOneProcess) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a relay that keeps the answer of a join for itself, and the event of that."""
    is_kept, target = asyncio.Event(), urlsplit(node.url)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(target.hostname, target.port)
        seen = bytearray()

        async def answers() -> None:
            while data := await up_reader.read(65_536):
                if b"/auth/join" in seen:
                    is_kept.set()
                else:
                    writer.write(data)

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(answers())
            with suppress(ConnectionError):
                while data := await reader.read(65_536):
                    seen += data
                    up_writer.write(data)
            task.cancel()
        up_writer.close()
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", is_kept


async def test_a_join_that_is_killed_before_its_answer_and_repeated_gives_one_account(terminal: CliRunner) -> None:
    link = await asyncio.to_thread(invitation, terminal)
    environment = {"HOME": str(terminal.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "vyry.cli.main", "client", "join", link, "--profile", "bo", "--url")
    async with without_answers(terminal.node) as (url, is_kept), asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(*command, url, env=environment)
        await is_kept.wait()
        process.kill()
        await process.wait()

    # The invitation has one use: another account would be refused.
    again = await asyncio.to_thread(terminal.run_client_json, "bo", "join", link, "--yes", "--url", terminal.node.url)

    me = await asyncio.to_thread(terminal.run_client_json, "bo", "whoami")
    assert again[0]["userId"] == me[0]["userId"]
    refused = await asyncio.to_thread(terminal.run_client, "eve", "join", link, "--url", terminal.node.url)
    assert refused.code == Exit.NOT_FOUND
