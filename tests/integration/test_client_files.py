"""Files of the SDK against a node in the test: over lines that break, after restarts, and with whatever a hostile node or sender made of them."""

import asyncio
import io
import os
import resource
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.faulty_proxy import FaultyProxy, open_faulty_proxy
from tests.support.node_server import NodeServer
from tests.support.rest_device import unused_number
from vyry.attachments.attachment import AttachmentId
from vyry.client.api.client import Client, Profile
from vyry.client.api.files import Stream
from vyry.client.errors import FileAlreadyExists, FileFailed, Refused, StoreFull, Unreachable
from vyry.client.store.events import Attachment, Message
from vyry.client.store.packing import pack, unpack
from vyry.client.transport.attachment_transfer import AttachmentTransfer
from vyry.client.transport.rest import RestClient, Tokens
from vyry.kernel.ids import UserId
from vyry.signal_protocol.attachments import sealed_size
from vyry.signal_protocol.refusals import AttachmentBroken, AttachmentTruncated, BadContent


pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
#: What requests besides the bytes of files come to, at most.
TALK = 300_000


@dataclass(frozen=True)
class FileTransferHarness:
    """A house, a line to it that breaks when told, and a folder to work in."""

    house: NodeServer
    line: FaultyProxy
    folder: Path

    @asynccontextmanager
    async def open(self, name: str = "ann") -> AsyncIterator[Client]:
        """The client of somebody, who signs up the first time."""
        number = unused_number()
        is_new = not (self.folder / name).exists()
        async with Client.open(Profile(self.folder / name, self.line.url, bytes(32))) as client:
            if is_new:
                await client.register(number, lambda: self.house.node.latest_code(number))
            yield client

    def file(self, size: int, name: str = "photo.jpg") -> Path:
        """A file of random bytes."""
        (self.folder / name).write_bytes(secrets.token_bytes(size))
        return self.folder / name

    def into(self) -> Path:
        """An empty folder for what is fetched."""
        made = self.folder / "in"
        made.mkdir()
        return made

    async def held(self, attachment: Attachment) -> bytes:
        """Its bytes at the node."""
        attachments = self.house.services.attachments.service
        found = await attachments.load_complete(AttachmentId(attachment.attachment_id))
        pieces = attachments.read(UserId(uuid4()), found, 0, found.length)
        return b"".join([piece async for piece in pieces])


@pytest.fixture
async def harness(sqlite_node_server: NodeServer, tmp_path: Path) -> AsyncIterator[FileTransferHarness]:
    async with open_faulty_proxy(sqlite_node_server.node.url) as line:
        yield FileTransferHarness(sqlite_node_server, line, tmp_path)


async def broken_off(doing: Any, is_far: asyncio.Event) -> None:
    """Begin it, and cancel it in the middle."""
    task = asyncio.create_task(doing)
    await is_far.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_sent_is_fetched_by_the_other_whole_and_under_its_name(harness: FileTransferHarness) -> None:
    file, seen = harness.file(5 * MIB), []
    async with harness.open("ann") as ann, harness.open("bo") as bo:
        chat = await ann.direct(bo.user_id)
        await ann.files.send(chat, file, "look", progress=lambda done, total: seen.append((done, total)))
        said = await anext(each async for each in bo.events() if isinstance(each, Message))
        fetched = await bo.files.download(said.attachments[0], harness.into())

    whole = sealed_size(5 * MIB)
    assert (seen[0], seen[-1], seen) == ((0, whole), (whole, whole), sorted(seen))
    assert (said.text, said.attachments[0].media_type, fetched.name) == ("look", "image/jpeg", "photo.jpg")
    assert fetched.read_bytes() == file.read_bytes()
    assert list((harness.folder / "ann/uploads").iterdir()) == []
    assert [each.name for each in fetched.parent.iterdir()] == ["photo.jpg"]


async def test_the_node_holds_nothing_of_a_file_but_sealed_bytes(harness: FileTransferHarness) -> None:
    file = harness.file(MIB)
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)

    held = await harness.held(pointer)
    assert len(held) == sealed_size(MIB)
    assert file.read_bytes()[:64] not in held


@pytest.mark.parametrize("size", [0, 1, 512, 65_536, 65_537])
async def test_files_of_every_size_come_back(harness: FileTransferHarness, size: int) -> None:
    file = harness.file(size, "bytes")
    async with harness.open() as ann:
        fetched = await ann.files.download((await ann.files.upload(file)).as_json(), harness.into())

    assert fetched.read_bytes() == file.read_bytes()


async def test_an_upload_whose_line_is_cut_goes_on_where_it_was(harness: FileTransferHarness) -> None:
    file = harness.file(6 * MIB)
    async with harness.open() as ann:
        before = harness.line.bytes_up
        harness.line.cut_points_up += [before + 2 * MIB, before + 5 * MIB]
        pointer = await ann.files.upload(file)
        fetched = await ann.files.download(pointer, harness.into())

    assert harness.line.cut_points_up == []
    assert fetched.read_bytes() == file.read_bytes()
    # Twice, what was in buffers when the line broke went again, never the whole.
    assert harness.line.bytes_up - before < 11 * MIB


async def test_an_upload_that_a_restart_broke_off_goes_on_with_the_same_bytes(harness: FileTransferHarness) -> None:
    file, is_far = harness.file(8 * MIB), asyncio.Event()
    async with harness.open() as ann:
        await broken_off(
            ann.files.upload(file, progress=lambda done, _: is_far.set() if done > 5 * MIB else None), is_far
        )
    (spooled,) = (harness.folder / "ann/uploads").iterdir()
    sealed, begun = spooled.read_bytes(), []
    async with harness.open() as again:
        pointer = await again.files.upload(file, progress=lambda done, _: begun.append(done))

    assert begun[0] > 0
    assert await harness.held(pointer) == sealed
    assert list((harness.folder / "ann/uploads").iterdir()) == []


async def test_other_bytes_are_never_sealed_under_the_key_of_a_begun_upload(harness: FileTransferHarness) -> None:
    file, is_far = harness.file(3 * MIB), asyncio.Event()
    async with harness.open() as ann:
        await broken_off(ann.files.upload(file, progress=lambda done, _: is_far.set() if done else None), is_far)
        was = file.read_bytes()
        file.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
        changed = await ann.files.upload(file)
        file.write_bytes(was)
        first = await ann.files.upload(file)

    assert changed.key != first.key
    assert changed.attachment_id != first.attachment_id


async def test_a_file_that_was_sent_is_sealed_anew_when_it_is_sent_again(harness: FileTransferHarness) -> None:
    file = harness.file(1_000)
    async with harness.open() as ann:
        one, other = await asyncio.gather(ann.files.upload(file), ann.files.upload(file))

    assert one.key != other.key
    assert one.attachment_id != other.attachment_id


async def test_an_upload_that_the_node_has_forgotten_begins_anew(harness: FileTransferHarness) -> None:
    file, is_far, number = harness.file(3 * MIB), asyncio.Event(), unused_number()
    async with harness.open() as ann:
        await broken_off(ann.files.upload(file, progress=lambda done, _: is_far.set() if done > MIB else None), is_far)
        (spooled,) = (harness.folder / "ann/uploads").iterdir()
        sealed = spooled.read_bytes()
        # Of another account nothing is known there.
        await ann.register(number, lambda: harness.house.node.latest_code(number))
        pointer = await ann.files.upload(file)

    assert await harness.held(pointer) == sealed


async def test_an_access_token_that_ended_is_renewed_for_files_too(harness: FileTransferHarness) -> None:
    async with harness.open():
        pass
    with Profile(harness.folder / "ann", "", bytes(32)).open_store() as store:
        kept = unpack(Tokens, store.get("tokens") or b"")
        store.put("tokens", "", pack(replace(kept, access="ended")))
        async with aiohttp.ClientSession() as http:
            blobs = AttachmentTransfer(RestClient(http, harness.line.url, store))
            with pytest.raises(Unreachable, match="has expired"):
                await blobs.create_upload(100)

            assert await blobs.upload_offset(await blobs.create_upload(100), 100) == 0


async def test_a_download_whose_line_is_cut_goes_on_where_it_was(harness: FileTransferHarness) -> None:
    file, seen = harness.file(6 * MIB), []
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)
        before = harness.line.bytes_down
        harness.line.cut_points_down += [before + 2 * MIB, before + 4 * MIB]
        fetched = await ann.files.download(pointer, harness.into(), lambda done, _: seen.append(done))

    assert harness.line.cut_points_down == []
    assert fetched.read_bytes() == file.read_bytes()
    # Three times it was begun, each time where the part ended.
    assert seen == sorted(seen)
    assert len(seen) - len(set(seen)) == 2


async def test_a_download_that_a_restart_broke_off_goes_on_where_it_was(harness: FileTransferHarness) -> None:
    file, is_far, into = harness.file(8 * MIB), asyncio.Event(), harness.into()
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)
        await broken_off(
            ann.files.download(pointer, into, lambda done, _: is_far.set() if done > 4 * MIB else None), is_far
        )
    assert [each.name for each in into.iterdir()] == [f"{pointer.attachment_id}.part"]
    begun: list[int] = []
    async with harness.open() as ann:
        fetched = await ann.files.download(pointer, into, lambda done, _: begun.append(done))

    assert begun[0] >= 4 * MIB
    assert fetched.read_bytes() == file.read_bytes()


async def test_a_part_that_is_none_of_this_file_is_fetched_anew(harness: FileTransferHarness) -> None:
    file, into = harness.file(MIB), harness.into()
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)
        (into / f"{pointer.attachment_id}.part").write_bytes(secrets.token_bytes(MIB // 2))
        fetched = await ann.files.download(pointer, into)

    assert fetched.read_bytes() == file.read_bytes()


async def test_bytes_that_the_node_changed_get_no_name(harness: FileTransferHarness) -> None:
    into = harness.into()
    async with harness.open() as ann:
        pointer = await ann.files.upload(harness.file(MIB))
        (stored,) = harness.folder.glob(f"attachments/*/{pointer.attachment_id}/*")
        held = bytearray(stored.read_bytes())
        held[-1] ^= 1
        stored.write_bytes(held)
        with pytest.raises(AttachmentBroken):
            await ann.files.download(pointer, into)

    assert list(into.iterdir()) == []


async def test_a_pointer_that_does_not_fit_its_file_gets_no_name(harness: FileTransferHarness) -> None:
    into = harness.into()
    async with harness.open() as ann:
        pointer = await ann.files.upload(harness.file(MIB))
        wrong: list[tuple[dict[str, Any], type[Exception]]] = [
            ({"key": bytes(32)}, AttachmentBroken),
            ({"digest": bytes(32)}, AttachmentBroken),
            ({"size": MIB - 5}, AttachmentBroken),
            ({"size": MIB // 2}, AttachmentBroken),
            ({"size": 2 * MIB}, AttachmentTruncated),
            ({"size": 2**52}, StoreFull),
            ({"attachment_id": uuid4()}, Refused),
        ]
        for fields, name in wrong:
            with pytest.raises(name):
                await ann.files.download(replace(pointer, **fields), into)
            assert list(into.iterdir()) == [], fields
        with pytest.raises(BadContent):
            await ann.files.download({**pointer.as_json(), "size": -1}, into)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\evil", "../in/\x1b[2J\nevil", "\u202eevil"])
async def test_a_hostile_name_stays_in_the_folder(harness: FileTransferHarness, name: str) -> None:
    into = harness.into()
    before = {each for each in harness.folder.rglob("*") if "uploads" not in each.parts}
    async with harness.open() as ann:
        pointer = await ann.files.upload(harness.file(10, "mine"))
        fetched = await ann.files.download(replace(pointer, file_name=name), into)

    assert fetched.parent == into
    assert fetched.name in ("evil", "[2Jevil")
    new = {each for each in harness.folder.rglob("*") if "uploads" not in each.parts} - before
    assert {each for each in new if "evil" in each.name} == {fetched}


async def test_nothing_is_overwritten_and_no_link_is_followed(harness: FileTransferHarness) -> None:
    into, own = harness.into(), harness.folder / "own"
    own.write_text("mine", encoding="utf-8")
    async with harness.open() as ann:
        pointer = await ann.files.upload(harness.file(10))
        (into / "photo.jpg").symlink_to(own)
        with pytest.raises(FileAlreadyExists):
            await ann.files.download(pointer, into / "photo.jpg")
        numbered = await ann.files.download(pointer, into)
        (into / f"{pointer.attachment_id}.part").symlink_to(own)
        with pytest.raises(FileFailed):
            await ann.files.download(pointer, into)

    assert numbered.name == "photo (2).jpg"
    assert own.read_text(encoding="utf-8") == "mine"


async def test_a_name_that_is_no_unicode_is_told_as_far_as_it_is(harness: FileTransferHarness) -> None:
    file = harness.file(10, os.fsdecode(b"gr\xfcn.png"))
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)
        with pytest.raises(BadContent):
            await ann.files.upload(file, "image/png\x1b")

    assert (pointer.file_name, pointer.media_type) == ("gr?n.png", "image/png")


LIES = {
    "another place": web.Response(status=302, headers={"Location": "/elsewhere"}),
    "nothing": web.Response(status=304),
    "another part": web.Response(status=206, headers={"Content-Range": "bytes 0-1/530"}, body=b"ab"),
    "no part": web.Response(status=206, body=b"ab"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_no_node_gives_is_none(tmp_path: Path, lie: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return LIES[lie]

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    with Profile(tmp_path, "", bytes(32)).open_store() as store:
        async with TestServer(app) as server, aiohttp.ClientSession() as http:
            rest = RestClient(http, f"http://{server.host}:{server.port}", store)
            rest.save_tokens({"accessToken": "a", "refreshToken": "b"})
            with pytest.raises(Unreachable, match=r"an invalid response|did not respond like a Vyry node"):
                async with AttachmentTransfer(rest).fetch(uuid4(), 100, 530):
                    raise AssertionError("it was believed")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk looks like to whoever writes more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_full_disk_is_named_and_a_download_goes_on_once_there_is_room(harness: FileTransferHarness) -> None:
    file, into = harness.file(8 * MIB), harness.into()
    async with harness.open() as ann:
        pointer = await ann.files.upload(file)
        with files_of_at_most(5 * MIB), pytest.raises(StoreFull):
            await ann.files.download(pointer, into)
        begun: list[int] = []
        fetched = await ann.files.download(pointer, into, lambda done, _: begun.append(done))

    assert begun[0] == 5 * MIB
    assert fetched.read_bytes() == file.read_bytes()


async def test_a_full_disk_is_named_and_leaves_nothing_of_an_upload(harness: FileTransferHarness) -> None:
    file = harness.file(8 * MIB)
    async with harness.open() as ann:
        with files_of_at_most(5 * MIB), pytest.raises(StoreFull):
            await ann.files.upload(file)

        assert list((harness.folder / "ann/uploads").iterdir()) == []
        assert (await ann.files.upload(file)).size == 8 * MIB


async def test_what_the_node_would_not_take_is_refused_before_it_is_sent(harness: FileTransferHarness) -> None:
    file = harness.folder / "large"
    with file.open("wb") as sparse:
        sparse.truncate(101 * MIB)
    async with harness.open() as ann:
        before = harness.line.bytes_up
        with pytest.raises(Refused, match="PAYLOAD_TOO_LARGE"):
            await ann.files.upload(file)

    assert harness.line.bytes_up - before < TALK
    assert list((harness.folder / "ann/uploads").iterdir()) == []


class Slow(io.BytesIO):
    """A source that has nothing before the loop of the test went on."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.asked, self.go = threading.Event(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        self.asked.set()
        assert self.go.wait(10)
        return super().read(size)


async def test_a_slow_source_holds_up_nothing_else(harness: FileTransferHarness) -> None:
    source = Slow(b"slow bytes")
    async with harness.open() as ann:
        task = asyncio.create_task(ann.files.upload(Stream(source, "slow.txt")))
        await asyncio.to_thread(source.asked.wait, 10)
        source.go.set()

        assert (await task).size == 10
