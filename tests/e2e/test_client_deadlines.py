"""How long commands of `vyry client` last: one deadline without progress, what is kept at its end, and turns of several processes with one profile."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def limited() -> Iterator[AllInOneProcess]:
    """A node that takes two posts of an account, and then none for an hour."""
    with AllInOneProcess({"VYRY_LIMITS": "on", "VYRY_LIMIT_POST": "2/3600"}) as node:
        yield node


def people(node: AllInOneProcess, home: Path) -> CliRunner:
    """A terminal with Ann and Bo."""
    made = CliRunner(node, home)
    made.variables = {"ANN": made.sign_up("ann"), "BO": made.sign_up("bo")}
    return made


async def vyry(home: Path, *words: str) -> asyncio.subprocess.Process:
    """A process of its own with this home."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())", "client", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)},
    )


async def line_of(stream: asyncio.StreamReader | None, word: str) -> str:
    """The next line with that word in it."""
    assert stream is not None
    while word not in (line := (await stream.readline()).decode()):
        assert line, f"it ended without {word}"
    return line


async def test_what_cannot_be_sent_in_time_is_kept_and_the_same_line_sends_it_once(
    limited: AllInOneProcess, tmp_path: Path
) -> None:
    here = await asyncio.to_thread(people, limited, tmp_path)
    bo = here.variables["BO"]
    for word in ("one", "two"):
        await asyncio.to_thread(here.run_client_json, "ann", "send", bo, word)

    runs = [
        await asyncio.to_thread(here.run_client, "ann", "send", bo, "ALERT", "--timeout", "1", "--json") for _ in "12"
    ]

    assert [(run.code, run.json_objects[0]["kept"]) for run in runs] == [(Exit.KEPT, True)] * 2
    assert "Not sent yet; stored" in runs[0].err
    assert "RATE_LIMITED" in runs[0].err
    assert runs[0].json_objects[0]["id"] == runs[1].json_objects[0]["id"]

    sending = await vyry(tmp_path, "send", bo, "ALERT", "--profile", "ann", "--timeout", "200")
    await line_of(sending.stderr, "Waiting: ")
    sending.send_signal(signal.SIGINT)
    assert "Not sent yet; stored" in (await sending.communicate())[1].decode()
    assert sending.returncode == Exit.KEPT


async def test_a_line_with_an_id_sends_once(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    here = await asyncio.to_thread(people, all_in_one, tmp_path)
    bo, file = here.variables["BO"], tmp_path / "notes.txt"
    file.write_text("notes")
    ids = [str(uuid4()) for _ in range(4)]

    def twice(*words: str) -> None:
        assert here.run_client_json("ann", *words) == here.run_client_json("ann", *words)

    def said() -> list[str]:
        here.run_client_json("ann", "friends", "add", bo)
        here.run_client_json("bo", "friends", "accept", here.variables["ANN"])
        twice("send", bo, "text", "--id", ids[0])
        twice("send", bo, "with", "--file", str(file), "--id", ids[1])
        twice("files", "send", bo, str(file), "file", "--id", ids[2])
        twice("groups", "create", "Walks", bo, "--id", ids[3])
        return [line["text"] for line in here.run_client_json("bo", "receive") if line["event"] == "message"]

    assert await asyncio.to_thread(said) == ["text", "with", "file"]


async def test_a_node_that_says_nothing_is_told_of_and_given_up(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    here = await asyncio.to_thread(people, all_in_one, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for words in (("send", here.variables["BO"], "hello"), ("receive",)):
            run = await asyncio.to_thread(here.run_client, "ann", *words, "--url", url, "--timeout", "3")

            assert (run.code, run.out, len(run.err.splitlines())) == (Exit.NODE_AWAY, "", 2), run
            assert run.err.startswith(f"vyry: Waiting: {url}")


async def test_other_commands_have_their_turn_while_one_follows(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    here = await asyncio.to_thread(people, all_in_one, tmp_path)
    ann, bo = here.variables["ANN"], here.variables["BO"]
    following = await vyry(tmp_path, "receive", "--follow", "--json", "--profile", "ann")
    await asyncio.to_thread(here.run_client_json, "bo", "send", ann, "first")
    await line_of(following.stdout, "first")

    sending = [await vyry(tmp_path, "send", bo, f"beside {number}", "--profile", "ann") for number in range(3)]
    ends = [(await each.communicate(), each.returncode) for each in sending]
    await asyncio.to_thread(here.run_client_json, "bo", "send", ann, "last")
    await line_of(following.stdout, "last")
    following.send_signal(signal.SIGTERM)

    assert [code for _, code in ends] == [0, 0, 0], ends
    assert await following.wait() == 128 + signal.SIGTERM
    heard = [
        line["text"]
        for line in await asyncio.to_thread(here.run_client_json, "bo", "receive")
        if line["event"] == "message"
    ]
    assert sorted(heard) == [f"beside {number}" for number in range(3)]


async def test_a_profile_that_stays_in_use_is_waited_for_and_left_alone(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    here = await asyncio.to_thread(people, all_in_one, tmp_path)
    following = await vyry(tmp_path, "receive", "--follow", "--profile", "ann")
    await asyncio.to_thread(here.run_client_json, "bo", "send", here.variables["ANN"], "there")
    await line_of(following.stdout, "there")

    # Of two that follow, the first goes on.
    second = await asyncio.to_thread(here.run_client, "ann", "receive", "--follow", "--timeout", "3")
    following.kill()
    await following.wait()

    assert (second.code, second.out) == (Exit.STORE_LOCKED, "")
    assert "Waiting: The profile" in second.err
