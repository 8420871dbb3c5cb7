"""Attachments of whole nodes: killed in the middle, without room, with the clients that people have, and with memory that stays flat."""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from tusclient.client import TusClient

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import Device, NodeClient
from tests.support.tus_client import (
    UPLOADS_PATH,
    TusResponse,
    append_bytes,
    create_upload,
    send_request,
    upload_file,
    upload_offset,
    wait_for_offset,
)


MIB = 1 << 20


class SmallDiskNode(AllInOneProcess):
    """A node whose data folder is a small disk of its own, in a name space that ends with it."""

    def __init__(self) -> None:
        super().__init__({"VYRY_ATTACHMENT_RESERVE_MIB": "16"})
        (self.folder / "data").mkdir()

    def _command(self) -> Sequence[str | Path]:
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
        mounted: list[str | Path] = [
            "sh",
            "-c",
            'mount -t tmpfs -o size=48m,mode=0700 tmpfs "$0" && exec "$@"',
            self.folder / "data",
        ]
        return [*own, *mounted, *super()._command()]


async def signed_up(node: AllInOneProcess, http: aiohttp.ClientSession) -> Device:
    return await NodeClient(http, node.url, node.otp_file).sign_up()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def in_pieces(content: bytes, hold: asyncio.Event, after: int) -> AsyncIterator[bytes]:
    """The content; past so many bytes nothing more comes until it may."""
    for start in range(0, len(content), 64 << 10):
        if start >= after:
            await hold.wait()
        yield content[start : start + (64 << 10)]


@pytest.fixture(params=["disk", "s3"])
def attachment_node(request: pytest.FixtureRequest) -> AllInOneProcess:
    """A node with attachments on its disk, or in an S3."""
    if request.param == "disk":
        return AllInOneProcess()
    return AllInOneProcess(request.getfixturevalue("s3").environment(f"killed/{secrets.token_hex(4)}"))


async def test_an_upload_outlives_kill_9_again_and_again(
    attachment_node: AllInOneProcess, http: aiohttp.ClientSession
) -> None:
    content = secrets.token_bytes(21 * MIB)
    with attachment_node as node:
        ann = await signed_up(node, http)
        path, at = await create_upload(ann, len(content)), 0
        for _ in range(1 if "VYRY_S3_ENDPOINT" in node.environment else 2):
            rest, never = content[at:], asyncio.Event()
            adding = asyncio.create_task(append_bytes(ann, path, at, in_pieces(rest, never, 6 * MIB)))
            promised = await wait_for_offset(ann, path, at + 4 * MIB)
            await asyncio.to_thread(node.kill)
            with pytest.raises(aiohttp.ClientError):
                await adding
            await asyncio.to_thread(node.start)
            at = await upload_offset(ann, path)
            assert at >= promised

        assert (await append_bytes(ann, path, at, content[at:])).status == 204

        assert sha256((await send_request(ann, "GET", path)).body) == sha256(content)


async def test_a_full_disk_refuses_uploads_and_nothing_else(http: aiohttp.ClientSession) -> None:
    with SmallDiskNode() as node:
        ann, bo = await signed_up(node, http), await signed_up(node, http)
        chat = await ann.open_direct(bo)
        paths = [await create_upload(ann, 8 * MIB) for _ in range(5)]

        said = [await append_bytes(ann, path, 0, bytes(8 * MIB)) for path in paths]

        kept = [path for path, each in zip(paths, said, strict=True) if each.status == 204]
        refused = said[-1]
        assert (refused.status, refused.code) == (503, "UNAVAILABLE")
        assert 60 <= int(refused.headers["Retry-After"]) <= 75
        assert (await send_request(ann, "POST", UPLOADS_PATH, Upload_Length=str(8 * MIB))).status == 503
        for number in range(20):
            await ann.post(chat, bo, str(number).encode())
        await bo.collect(wait=5)
        assert len(bo.contents) == 20
        assert (await send_request(bo, "GET", kept[0])).body == bytes(8 * MIB)
        await send_request(ann, "DELETE", kept[0])
        await _succeeds(lambda: append_bytes(ann, paths[-1], 0, bytes(8 * MIB)))
        assert '"event":"unhandled_error"' not in node.log()


async def test_memory_stays_flat_however_long_an_attachment_is(http: aiohttp.ClientSession) -> None:
    content = secrets.token_bytes(100 * MIB)
    with AllInOneProcess() as node:
        ann = await signed_up(node, http)
        await send_request(ann, "GET", await upload_file(ann, content[: 8 * MIB]))
        before = _peak(node.pid)

        path = await upload_file(ann, content)
        fetched = (await send_request(ann, "GET", path)).body

        assert sha256(fetched) == sha256(content)
        assert _peak(node.pid) - before < 40 * MIB


def test_the_official_python_client_uploads_and_resumes(all_in_one: AllInOneProcess) -> None:
    content = secrets.token_bytes(3 * MIB + 7)

    async def sign_up() -> Device:
        async with aiohttp.ClientSession() as http:
            return await signed_up(all_in_one, http)

    async def fetch(device: Device, url: str | None) -> bytes:
        assert url is not None
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {device.token}"}) as http:
            return await (await http.get(url)).read()

    ann = asyncio.run(sign_up())
    client = TusClient(all_in_one.url + UPLOADS_PATH, headers={"Authorization": f"Bearer {ann.token}"})
    first = client.uploader(
        file_stream=BytesIO(content), chunk_size=MIB, metadata={"filename": "file"}, upload_checksum=True
    )
    first.upload(stop_at=2 * MIB)

    again = client.uploader(file_stream=BytesIO(content), url=first.url, chunk_size=MIB, upload_checksum=True)
    assert again.get_offset() == 2 * MIB
    again.upload()

    assert sha256(asyncio.run(fetch(ann, first.url))) == sha256(content)


async def _succeeds(attempt: Callable[[], Awaitable[TusResponse]]) -> None:
    """Once the sweeper has made room, which takes seconds."""
    for _ in range(300):
        said = await attempt()
        if said.status == 204:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError


def _peak(pid: int) -> int:
    """The most memory that a process has held, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
