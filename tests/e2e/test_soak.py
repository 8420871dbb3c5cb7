"""`vyry soak` and `vyry demo`: what they say, what they leave, and that a node which is killed loses nothing."""

import asyncio
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scripts.nodes import AllInOneProcess
from vyry.cli.main import main


pytestmark = pytest.mark.timeout(120)
VYRY = (sys.executable, "-m", "vyry.cli.main")


async def started(*words: str, temporary: Path) -> asyncio.subprocess.Process:
    """A run of the command whose temporary files lie here."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return await asyncio.create_subprocess_exec(
        *VYRY, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )


async def report_lines(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, Any]]:
    """What it says, as it says it."""
    assert process.stdout is not None
    async with asyncio.timeout(90):
        async for line in process.stdout:
            yield json.loads(line)


async def wait_for_traffic(lines: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """The first report after all have signed up: messages are under way."""
    async for line in lines:
        if line["sent"]:
            return line
    raise AssertionError("nothing was ever sent")


async def test_a_soak_over_a_node_that_is_killed_loses_and_doubles_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    where = ("--url", all_in_one.url, "--codes", str(all_in_one.otp_file))
    soak = await started(
        "soak", "--minutes", "5", "--rate", "20", "--every", "0.1", "--json", *where, temporary=tmp_path
    )
    lines = report_lines(soak)

    first = await wait_for_traffic(lines)
    await asyncio.to_thread(all_in_one.kill)
    await asyncio.to_thread(all_in_one.start)
    soak.send_signal(signal.SIGTERM)
    *_, last = [first, *[line async for line in lines]]

    assert first["event"] == "progress"
    assert (last["event"], last["ok"], last["lost"], last["doubled"], last["disordered"]) == ("end", True, 0, 0, 0)
    assert last["received"] == last["sent"] > first["sent"] > 0
    assert await soak.wait() == 0


async def test_a_soak_that_brings_its_own_node_leaves_nothing(tmp_path: Path) -> None:
    soak = await started("soak", "--minutes", "0.005", "--people", "2", "--json", temporary=tmp_path)
    *_, last = [line async for line in report_lines(soak)]

    assert (last["event"], last["ok"]) == ("end", True)
    assert await soak.wait() == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - an event loop runs here


async def test_a_node_that_forgets_what_it_showed_ends_a_soak_with_exit_code_1(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(f"{all_in_one.folder}/data/vyry.db", isolation_level=None)) as database:
        older = database.execute("SELECT coalesce(max(id), 0) FROM mailbox").fetchone()
        where = ("--people", "2", "--url", all_in_one.url, "--codes", str(all_in_one.otp_file))
        soak = await started("soak", "--minutes", "5", "--every", "0.1", "--json", *where, temporary=tmp_path)
        lines = report_lines(soak)
        await wait_for_traffic(lines)

        forgetting = "UPDATE mailbox SET head = randomblob(32), acknowledged_head = randomblob(32) WHERE id > ?"
        database.execute(forgetting, older)
        *_, last = [line async for line in lines]

    assert (last["event"], last["ok"]) == ("end", False)
    assert last["chainsBroken"] > 0
    assert await soak.wait() == 1


def vyry(*words: str, typed: str = "", temporary: Path) -> subprocess.CompletedProcess[str]:
    """One run to its end."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [*VYRY, *words]
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_the_demo_chats_alone_for_a_while_and_leaves_nothing(tmp_path: Path) -> None:
    done = vyry("demo", "--seconds", "0.5", "--json", temporary=tmp_path)
    said = [json.loads(line) for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, "")
    assert [each["event"] for each in said[:3]] == ["node", "signedUp", "signedUp"]
    assert said[-1] == {"event": "end", "messages": len(said) - 4}
    assert list(tmp_path.iterdir()) == []


def test_in_the_demo_one_is_ann(tmp_path: Path) -> None:
    done = vyry("demo", typed="Is there anybody?\n", temporary=tmp_path)

    assert done.returncode == 0
    assert "Ann | Is there anybody?" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("The node and all its data are deleted.")


def test_a_soak_without_a_node_says_so_in_one_line(tmp_path: Path) -> None:
    done = vyry("soak", "--url", "http://127.0.0.1:1", "--codes", f"{tmp_path}/codes", temporary=tmp_path)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "Cannot reach" in done.stderr


def test_a_soak_on_a_node_whose_codes_nobody_can_read_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--url", "http://127.0.0.1:1"]) == 1
    assert "--codes" in capsys.readouterr().err


def test_a_throwaway_node_ends_with_the_process_that_made_it_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom vyry.cli.temporary_node import temporary_node\nwith temporary_node():\n"
        "    print(Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "    input()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as maker:
        assert maker.stdout is not None
        node = os.pidfd_open(int(maker.stdout.readline()))
        assert list(tmp_path.iterdir()) != []
        maker.communicate(b"go\n")

    assert maker.returncode == -signal.SIGKILL
    assert select.select([node], [], [], 30)[0] == [node]
    os.close(node)
    assert list(tmp_path.iterdir()) == []
