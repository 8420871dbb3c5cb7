"""From an empty folder to a first message: `vyry start`, the README in two terminals, and the example that ships."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.device_socket import Codec, DeviceSocket
from tests.support.rest_device import NodeClient


EXAMPLE = ROOT / "examples" / "first_message.py"


README = (ROOT / "README.md").read_text(encoding="utf-8")


async def typed_line(home: Path, line: str, user_id: str = "USER_ID") -> asyncio.subprocess.Process:
    """A line of the README in a terminal."""
    program, *words = shlex.split(line.replace("USER_ID", user_id))
    assert program == ".venv/bin/vyry"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vyry.cli.main", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(home)},
    )


async def signed_up(home: Path, line: str, node: NodeClient) -> str:
    """A person who runs that line, and types the code that the node shows; answers what the terminal says."""
    process = await typed_line(home, f"{line} --url {node.url}")
    assert process.stderr is not None
    await process.stderr.readuntil(b": ")
    code = await node.latest_code(re.findall(r"\+[0-9]+", line)[0])
    said, _ = await process.communicate(f"{code}\n".encode())
    return said.decode()


async def test_the_first_message_of_the_readme_goes_from_one_terminal_to_the_other(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    bo_signs_up, bo_waits, ann_signs_up, ann_writes = re.findall(r"^\.venv/bin/vyry client .*$", README, re.MULTILINE)

    async with asyncio.timeout(50):
        bo_id = (await signed_up(tmp_path, bo_signs_up, node)).split()[-1].rstrip(".")
        bo = await typed_line(tmp_path, bo_waits)
        await signed_up(tmp_path, ann_signs_up, node)
        said, _ = await (await typed_line(tmp_path, ann_writes, bo_id)).communicate()
        assert bo.stdout is not None
        await bo.stdout.readuntil(b": Hello Bo, the node cannot read this.\n")
        bo.kill()
        await bo.communicate()

    assert said == b"Sent.\n"


async def started_example(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_the_example_tells_of_a_ciphertext_there_and_back(all_in_one: AllInOneProcess) -> None:
    process = await started_example("--url", all_in_one.url, "--otp-file", str(all_in_one.otp_file))

    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    said = output.decode()

    assert process.returncode == 0, said
    assert "reads: 'Hello Bo, the node cannot read this.'" in said
    assert "reads: 'Nor this, Ann.'" in said


async def test_without_the_file_the_example_asks_for_the_codes(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    process = await started_example("--url", all_in_one.url)
    assert process.stdin is not None
    assert process.stdout is not None

    async with asyncio.timeout(30):
        for _ in ("Ann", "Bo"):
            asked = await process.stdout.readuntil(b"): ")
            code = await node.latest_code(re.findall(r"\+[0-9]+", asked.decode())[-1])
            process.stdin.write(f"{code}\n".encode())
        said, _ = await process.communicate()

    assert (process.returncode, b"Nor this, Ann." in said) == (0, True)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_first_message_goes_there_and_back_over_sockets(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession, codec: Codec
) -> None:
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    anns, bos = (
        await DeviceSocket.connect_and_resume(ann, codec=codec),
        await DeviceSocket.connect_and_resume(bo, codec=codec),
    )

    await ann.post(conversation, bo, b"there")
    await bos.wait_for_entries(1)
    await bo.post(conversation, ann, b"and back")
    await anns.wait_for_entries(1)

    assert (bo.contents, ann.contents) == ([b"there"], [b"and back"])
    await anns.close()
    await bos.close()


async def test_mail_outlives_a_crash_of_the_node(all_in_one: AllInOneProcess, http: aiohttp.ClientSession) -> None:
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    await ann.post(conversation, bo, b"before the crash")

    crashed = all_in_one.pid
    await asyncio.to_thread(all_in_one.kill)
    await asyncio.to_thread(all_in_one.start)
    await ann.post(conversation, bo, b"after it")
    line = await DeviceSocket.connect_and_resume(bo)
    await line.wait_for_entries(2)
    await line.close()

    assert bo.contents == [b"before the crash", b"after it"]
    assert all_in_one.pid != crashed
