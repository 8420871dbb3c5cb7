"""From an empty folder to a first message: `vyry start`, and the example that ships."""

import asyncio
import re
import sys

import aiohttp
import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.device_socket import Codec, DeviceSocket
from tests.support.rest_device import NodeClient


EXAMPLE = ROOT / "examples" / "first_message.py"


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
