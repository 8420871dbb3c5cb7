"""`vyry client files` against a real node: what people and scripts get to see, and how each kind of failure ends."""

import asyncio
import io
import os
import secrets
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner, refused
from tests.support.faulty_proxy import open_faulty_proxy
from tests.support.sdk_clients import open_client, register
from vyry.cli.client.context import CommandContext
from vyry.cli.client.exit_codes import Exit
from vyry.cli.client.files import progress_display
from vyry.client.api.client import Client, Profile


pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cli(all_in_one: AllInOneProcess, tmp_path_factory: pytest.TempPathFactory) -> CliRunner:
    """A terminal with two people in it."""
    made = CliRunner(all_in_one, tmp_path_factory.mktemp("home"))
    made.variables = {"ANN": made.sign_up("ann"), "BO": made.sign_up("bo")}
    return made


def received(cli: CliRunner) -> dict[str, str]:
    """The last message that Bo got."""
    found: dict[str, str] = [line for line in cli.run_client_json("bo", "receive") if line["event"] == "message"][-1]
    return found


def test_a_file_is_sent_and_fetched(cli: CliRunner, tmp_path: Path) -> None:
    content = secrets.token_bytes(3 << 20)
    (tmp_path / "photo.jpg").write_bytes(content)
    (tmp_path / "in").mkdir()

    assert cli.run_client("ann", "files", "send", cli.variables["BO"], f"{tmp_path}/photo.jpg", "look").out == "Sent.\n"
    said = received(cli)
    into = (said["conversationId"], said["id"], f"{tmp_path}/in")
    got = cli.run_client_json("bo", "files", "get", *into)

    assert said["text"] == "look"
    assert got == [{"file": f"{tmp_path}/in/photo.jpg", "size": 3 << 20, "mediaType": "image/jpeg"}]
    assert (tmp_path / "in/photo.jpg").read_bytes() == content
    # Once more: nothing is overwritten.
    assert cli.run_client("bo", "files", "get", *into).out == f"Saved to {tmp_path}/in/photo (2).jpg.\n"
    refused(cli.run_client("bo", "files", "get", *into[:2], got[0]["file"]), Exit.FAILED, "already exists")


def test_standard_input_and_a_file_of_a_message_are_files_too(cli: CliRunner, tmp_path: Path) -> None:
    bo = cli.variables["BO"]
    cli.run_client("ann", "files", "send", bo, "-", "--name", "notes.txt", typed="some notes")
    piped = received(cli)
    (tmp_path / "list.csv").write_text("1,2", encoding="utf-8")
    cli.run_client_json("ann", "send", bo, "the list", "--reply-to", piped["id"], "--file", f"{tmp_path}/list.csv")
    beside = received(cli)

    cli.run_client_json("bo", "files", "get", piped["conversationId"], piped["id"], f"{tmp_path}/piped")
    cli.run_client_json("bo", "files", "get", beside["conversationId"], beside["id"], f"{tmp_path}/beside")

    assert (tmp_path / "piped").read_text(encoding="utf-8") == "some notes"
    assert (tmp_path / "beside").read_text(encoding="utf-8") == "1,2"
    assert (beside["text"], beside["replyTo"]["id"]) == ("the list", piped["id"])  # type: ignore[index]


def test_what_is_not_there_is_not_found(cli: CliRunner, tmp_path: Path) -> None:
    bo = cli.variables["BO"]

    refused(cli.run_client("ann", "files", "send", bo, f"{tmp_path}/nothing"), Exit.NOT_FOUND, "No such file")
    refused(cli.run_client("ann", "files", "send", bo, f"{tmp_path}"), Exit.FAILED, "Is a directory")
    refused(cli.run_client("ann", "files", "get", bo, str(uuid4())), Exit.NOT_FOUND, "has no message")


def test_what_others_wrote_does_not_steer_the_terminal(cli: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    name = "\x1b]0;mine\x07\u202egpj.exe"
    cli.run_client_json("ann", "files", "send", cli.variables["BO"], f"{tmp_path}/file", "a\x1b[2Jb\tc", "--name", name)
    shown = cli.run_client("bo", "receive").out

    assert "a\ufffd[2Jb    c []0;minegpj.exe]\n" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Somebody sits before it."""
        return True


def test_a_bar_shows_how_far_a_file_is_to_people_only() -> None:
    with redirect_stderr(Screen()) as screen:
        with progress_display(CommandContext(), "[red]photo.jpg") as progress:
            assert progress
            progress(1_000, 4_000)
        with progress_display(CommandContext(json=True), "photo.jpg") as silent:
            assert silent is None
    with redirect_stderr(io.StringIO()), progress_display(CommandContext(), "photo.jpg") as piped:
        assert piped is None

    assert "[red]photo.jpg" in screen.getvalue()
    assert "1.0/4.0 kB" in screen.getvalue()


COMMAND = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")


async def test_a_send_that_was_killed_goes_on_where_it_was(cli: CliRunner, tmp_path: Path) -> None:
    file, size = tmp_path / "film.mkv", 16 << 20
    file.write_bytes(secrets.token_bytes(size))
    env = {**os.environ, "HOME": str(cli.home), "PYTHONPATH": str(ROOT)}
    async with open_faulty_proxy(cli.node.url) as line:
        send = ("client", "files", "send", cli.variables["BO"], str(file), "--profile", "ann", "--url", line.url)
        line.hang_at = 10 << 20
        first = await asyncio.create_subprocess_exec(*COMMAND, *send, env=env)
        await line.is_hanging.wait()
        first.kill()
        await first.wait()
        before = line.bytes_up
        second = await asyncio.create_subprocess_exec(*COMMAND, *send, env=env, stdout=subprocess.DEVNULL)
        assert await second.wait() == Exit.DONE

    assert line.bytes_up - before < size - (4 << 20)
    said = await asyncio.to_thread(received, cli)
    await asyncio.to_thread(
        cli.run_client_json, "bo", "files", "get", said["conversationId"], said["id"], f"{tmp_path}/film"
    )
    assert (tmp_path / "film").read_bytes() == file.read_bytes()


async def test_a_file_outlives_a_node_that_is_killed_and_comes_back(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    (tmp_path / "film.mkv").write_bytes(secrets.token_bytes(12 << 20))
    (tmp_path / "in").mkdir()
    async with open_client(all_in_one, tmp_path / "cleo") as cleo, open_faulty_proxy(all_in_one.url) as line:
        await register(cleo, all_in_one)
        line.hang_at = 6 << 20
        async with Client.open(Profile(tmp_path / "dan", line.url)) as dan:
            await register(dan, all_in_one)
            task = asyncio.create_task(dan.files.upload(tmp_path / "film.mkv"))
            await line.is_hanging.wait()
            await asyncio.to_thread(all_in_one.kill)
            await asyncio.to_thread(all_in_one.start)
            pointer = await task
        fetched = await cleo.files.download(pointer, tmp_path / "in")

    assert fetched.read_bytes() == (tmp_path / "film.mkv").read_bytes()
