"""The examples of the SDK run as they stand, and the document shows them as they are."""

import asyncio
import os
import re
import sys
from pathlib import Path

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner


EXAMPLES = ROOT / "examples"


async def started(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def test_the_tour_shows_what_it_promises(all_in_one: AllInOneProcess) -> None:
    process = await started(str(EXAMPLES / "tour.py"), str(all_in_one.otp_file), all_in_one.url)
    said, complained = await process.communicate()

    assert (process.returncode, complained.decode()) == (0, "")
    lines = said.decode().splitlines()
    assert lines[:3] == [
        "Bo hears in 'The tour': Hello Bo!",
        "Ann sees 👋",
        "Bo saves notes.txt: what the node cannot read",
    ]
    assert lines[3].endswith(": True")


async def test_the_echo_bot_answers_once_also_when_it_is_killed(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    terminal = CliRunner(all_in_one, tmp_path)
    bot = await asyncio.to_thread(terminal.sign_up, f"{tmp_path}/bot")
    await asyncio.to_thread(terminal.sign_up, "ann")
    for number in range(3):
        process = await started(str(EXAMPLES / "echo_bot.py"), f"{tmp_path}/bot", all_in_one.url)
        await asyncio.to_thread(terminal.run_client_json, "ann", "send", bot, f"echo {number}")
        heard: list[str] = []
        async with asyncio.timeout(30):
            while f"echo {number}" not in heard:
                told = await asyncio.to_thread(terminal.run_client_json, "ann", "receive")
                heard += [line["text"] for line in told if line["event"] == "message"]
        process.kill()
        await process.communicate()
        assert heard == [f"echo {number}"]


def test_the_document_shows_the_echo_bot_as_it_is() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "sdk.md").read_text(), re.MULTILINE | re.DOTALL)

    assert blocks[0] in (EXAMPLES / "echo_bot.py").read_text()
