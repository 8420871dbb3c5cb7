"""Uploads over HTTP: the tus protocol, and who may use an upload."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import closing
from email.utils import parsedate_to_datetime

import pytest
from prometheus_client import REGISTRY

from tests.integration.test_account_deletion import code
from tests.support.node_server import NodeServer, wait_until
from tests.support.raw_websocket import RawSocket
from tests.support.rest_device import Device
from tests.support.tus_client import (
    OCTET_STREAM_HEADERS,
    UNKNOWN_UPLOAD,
    UPLOADS_PATH,
    append_bytes,
    create_upload,
    send_request,
    upload_file,
    upload_offset,
    wait_for_offset,
)
from vyry.clock import SystemClock
from vyry.storage.conversation_models import AttachmentRow


TEN = b"0123456789"


@pytest.fixture
async def ann(sqlite_node_server: NodeServer) -> Device:
    return await sqlite_node_server.node.sign_up()


@pytest.fixture
async def bo(sqlite_node_server: NodeServer) -> Device:
    return await sqlite_node_server.node.sign_up()


def sum_of(content: bytes, algorithm: str) -> str:
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def arrived() -> float:
    """How many bytes of uploads have come to the nodes of this process."""
    return REGISTRY.get_sample_value("vyry_attachment_bytes_total", {"direction": "in"}) or 0


async def test_a_node_says_what_it_speaks_to_anybody(sqlite_node_server: NodeServer) -> None:
    node = sqlite_node_server.node

    async with node.http.options(f"{node.url}{UPLOADS_PATH}") as answer:
        told = {name: answer.headers[name] for name in answer.headers if name.startswith("Tus-")}

    assert answer.status == 204
    assert told == {
        "Tus-Resumable": "1.0.0",
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,checksum,expiration,termination",
        "Tus-Max-Size": str(100 << 20),
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512",
    }


async def test_an_upload_in_two_steps_is_whole(ann: Device, bo: Device) -> None:
    created = await send_request(
        ann, "POST", UPLOADS_PATH, Upload_Length="10", Upload_Metadata="filename c2VjcmV0LnBkZg=="
    )
    path = created.headers["Location"]
    assert (created.status, created.headers["Upload-Offset"], created.body) == (201, "0", b"")

    first = await append_bytes(ann, path, 0, TEN[:4])
    assert (first.status, first.headers["Upload-Offset"], first.headers["Tus-Resumable"]) == (204, "4", "1.0.0")
    assert (await send_request(bo, "GET", path)).code == "NOT_FOUND"
    looked = await send_request(ann, "HEAD", path)
    assert (looked.status, looked.headers["Upload-Offset"], looked.headers["Upload-Length"]) == (200, "4", "10")
    assert looked.headers["Cache-Control"] == "no-store"
    await append_bytes(ann, path, 4, TEN[4:])

    assert (await send_request(bo, "GET", path)).body == TEN
    assert (await send_request(ann, "HEAD", path)).headers["Upload-Offset"] == "10"


async def test_it_is_told_until_when_an_upload_is_kept(ann: Device) -> None:
    unfinished, finished = (
        await send_request(ann, "HEAD", await create_upload(ann)),
        await send_request(ann, "HEAD", await upload_file(ann, TEN)),
    )

    days = [
        (parsedate_to_datetime(each.headers["Upload-Expires"]) - SystemClock().now()).total_seconds() / 86_400
        for each in (unfinished, finished)
    ]

    assert [round(each, 1) for each in days] == [1, 30]


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1", "1.0.0, 1.0.0"])
async def test_another_version_is_not_served(ann: Device, version: str) -> None:
    path = await create_upload(ann)

    for method, where in (("POST", UPLOADS_PATH), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        said = await send_request(
            ann,
            method,
            where,
            Tus_Resumable=version,
            data=None,
            Upload_Length="1",
            Upload_Offset="0",
            **OCTET_STREAM_HEADERS,
        )
        assert (said.status, said.headers["Tus-Version"]) == (412, "1.0.0")

    assert await upload_offset(ann, path) == 0


@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "+5", "0x10", "9" * 16, "١"])
async def test_a_length_that_is_none_begins_nothing(ann: Device, length: str) -> None:
    said = await send_request(
        ann, "POST", UPLOADS_PATH, Upload_Length=length, Upload_Defer_Length="" if length else "1"
    )

    assert (said.status, said.code) == (400, "INVALID_REQUEST")


async def test_a_length_over_the_limit_is_refused(ann: Device) -> None:
    said = await send_request(ann, "POST", UPLOADS_PATH, Upload_Length=str((100 << 20) + 1))

    assert (said.status, said.code, said.headers["Tus-Resumable"]) == (413, "PAYLOAD_TOO_LARGE", "1.0.0")
    assert b"quotaBytes" not in said.body


async def test_of_fifty_uploads_begun_at_once_no_more_than_the_quota_are(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    length = str(100 << 20)

    said = await asyncio.gather(*[send_request(ann, "POST", UPLOADS_PATH, Upload_Length=length) for _ in range(50)])

    assert sorted(each.status for each in said) == [201] * 10 + [413] * 40
    refused = next(each.body for each in said if each.status == 413)
    assert b'"quotaBytes":1073741824,"usedBytes":1048576000' in refused


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/json"}, 415),
        ({"Content_Type": ""}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Upload_Offset": ""}, 400),
        ({"Upload_Offset": "-1"}, 400),
        ({"Upload_Checksum": "md4 AAAA"}, 400),
        ({"Upload_Checksum": "sha1 AAAA"}, 400),
        ({"Upload_Checksum": "sha1 not base64"}, 400),
        ({"Upload_Offset": "3"}, 409),
        ({"Upload_Offset": "11"}, 409),
    ],
)
async def test_a_wrong_patch_adds_nothing(ann: Device, headers: dict[str, str], status: int) -> None:
    path = await create_upload(ann)
    sent = {"Content_Type": OCTET_STREAM_HEADERS["Content-Type"], "Upload_Offset": "0"} | headers

    said = await send_request(ann, "PATCH", path, TEN, **sent)

    assert said.status == status
    assert said.headers["Tus-Resumable"] == "1.0.0"
    assert await upload_offset(ann, path) == 0


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
async def test_a_checksum_guards_its_request(ann: Device, algorithm: str) -> None:
    path = await create_upload(ann)

    wrong = await append_bytes(ann, path, 0, TEN[:5], Upload_Checksum=sum_of(b"other", algorithm))
    assert (wrong.status, wrong.code) == (460, "CHECKSUM_MISMATCH")
    assert await upload_offset(ann, path) == 0

    right = await append_bytes(ann, path, 0, TEN[:5], Upload_Checksum=sum_of(TEN[:5], algorithm))
    assert (right.status, right.headers["Upload-Offset"]) == (204, "5")


async def test_more_than_was_announced_is_refused_also_without_a_length(ann: Device) -> None:
    async def unmeasured() -> AsyncIterator[bytes]:
        yield TEN
        yield b"x"

    path = await create_upload(ann)

    for content in (TEN + b"x", unmeasured()):
        said = await append_bytes(ann, path, 0, content)
        assert (said.status, said.code) == (413, "PAYLOAD_TOO_LARGE")

    assert (await send_request(ann, "GET", path)).status == 404


async def test_what_came_before_the_line_broke_is_kept(ann: Device, sqlite_node_server: NodeServer) -> None:
    path = await create_upload(ann)
    raw = RawSocket(int(sqlite_node_server.node.url.rpartition(":")[2]))
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: vyry\r\nAuthorization: Bearer {ann.token}\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: {OCTET_STREAM_HEADERS['Content-Type']}\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n\r\n"
    )
    before = arrived()
    with closing(raw.wire):
        raw.wire.sendall(head.encode() + TEN[:6])
        await wait_until(lambda: arrived() == before + 6)

    await wait_for_offset(ann, path, 6)
    await append_bytes(ann, path, 6, TEN[6:])
    assert (await send_request(ann, "GET", path)).body == TEN


async def test_of_two_who_write_at_once_the_later_wins(ann: Device) -> None:
    path, before, may_go_on = await create_upload(ann), arrived(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await may_go_on.wait()
        yield b"x" * 9

    first = asyncio.create_task(append_bytes(ann, path, 0, slow()))
    await wait_until(lambda: arrived() == before + 1)
    later = await append_bytes(ann, path, 0, TEN)
    may_go_on.set()

    assert later.status == 204
    assert ((await first).status, (await send_request(ann, "GET", path)).body) == (409, TEN)


async def test_what_is_anothers_is_not_there(ann: Device, bo: Device) -> None:
    path = await create_upload(ann)

    said = [await send_request(bo, method, where) for method in ("HEAD", "DELETE") for where in (path, UNKNOWN_UPLOAD)]
    said += [await append_bytes(bo, where, 0, TEN) for where in (path, UNKNOWN_UPLOAD)]

    assert {each.status for each in said} == {404}
    assert await upload_offset(ann, path) == 0


async def test_an_ended_one_is_gone_at_once_and_its_bytes_soon(ann: Device, sqlite_node_server: NodeServer) -> None:
    path, folder = await upload_file(ann, TEN), sqlite_node_server.settings.data_dir / "attachments"

    ended = await send_request(ann, "DELETE", path)

    assert (ended.status, ended.body) == (204, b"")
    assert [(await send_request(ann, method, path)).status for method in ("GET", "HEAD", "DELETE")] == [404] * 3
    await sqlite_node_server.services.attachments.upkeep.delete_expired(100)
    assert [each for each in folder.rglob("*") if each.is_file()] == []


async def test_a_deleted_account_leaves_no_byte(ann: Device, sqlite_node_server: NodeServer) -> None:
    for path in (await upload_file(ann, TEN), await create_upload(ann)):
        await append_bytes(ann, path, 0, TEN)

    await ann.call("POST", "/account/delete", await code(ann))
    await sqlite_node_server.services.attachments.upkeep.delete_expired(100)

    files = [each for each in (sqlite_node_server.settings.data_dir / "attachments").rglob("*") if each.is_file()]
    assert (files, await AttachmentRow.all().count()) == ([], 0)


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fvyry.db",
        "%2e%2e",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "-" * 36,
        "0198C2D4-7A00-7000-8000-000000000000",
    ],
)
async def test_what_is_no_id_names_no_file(ann: Device, name: str) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert (await send_request(ann, method, f"{UPLOADS_PATH}/{name}")).status in (404, 405)


async def test_a_page_may_upload_and_read_how_far_it_is(ann: Device) -> None:
    page = {"Origin": "https://app.example.org"}
    asked = {"Access_Control_Request_Method": "PATCH", "Access_Control_Request_Headers": "tus-resumable,upload-offset"}

    before = await send_request(ann, "OPTIONS", UNKNOWN_UPLOAD, None, **page, **asked)
    first = await send_request(
        ann, "OPTIONS", UPLOADS_PATH, None, **page, **(asked | {"Access_Control_Request_Method": "POST"})
    )
    answer = await send_request(ann, "POST", UPLOADS_PATH, data=None, Upload_Length="1", **page)

    assert set(before.headers["Access-Control-Allow-Methods"].split(", ")) == {"DELETE", "GET", "HEAD", "PATCH"}
    assert set(first.headers["Access-Control-Allow-Methods"].split(", ")) == {"OPTIONS", "POST"}
    allowed = before.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum"} <= set(allowed)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Expires", "Tus-Resumable"} <= set(exposed)


async def test_what_clients_call_their_files_is_kept_nowhere(ann: Device, sqlite_node_server: NodeServer) -> None:
    await send_request(
        ann,
        "POST",
        UPLOADS_PATH,
        Upload_Length="1",
        Upload_Metadata=f"filename {base64.b64encode(b'love letter').decode()}",
    )

    database = (sqlite_node_server.settings.data_dir / "vyry.db").read_bytes()
    journal = (sqlite_node_server.settings.data_dir / "vyry.db-wal").read_bytes()

    assert await AttachmentRow.all().count() == 1
    for trace in (b"love letter", base64.b64encode(b"love letter")):
        assert trace not in database + journal
