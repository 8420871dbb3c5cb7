"""Attachments fetched: ranges, conditions, and headers that keep browsers from showing what is ciphertext or worse."""

import pytest

from tests.support.node_server import NodeServer
from tests.support.rest_device import Device
from tests.support.tus_client import create_upload, send_request, upload_file


TEN = b"0123456789"


@pytest.fixture
async def ann(sqlite_node_server: NodeServer) -> Device:
    return await sqlite_node_server.node.sign_up()


@pytest.mark.parametrize(
    ("asked", "status", "body", "said"),
    [
        ("bytes=2-5", 206, b"2345", "bytes 2-5/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, TEN, "bytes 0-9/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("BYTES=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,3-4", 416, None, "bytes */10"),
        (f"bytes={','.join(['0-'] * 500)}", 416, None, "bytes */10"),
        ("bytes=5-2", 200, TEN, None),
        ("bytes=a-b", 200, TEN, None),
        ("pages=1-2", 200, TEN, None),
        (f"bytes={'9' * 40}-", 200, TEN, None),
    ],
)
async def test_one_range_is_answered_and_several_are_not(
    ann: Device, asked: str, status: int, body: bytes | None, said: str | None
) -> None:
    answer = await send_request(ann, "GET", await upload_file(ann, TEN), Range=asked)

    assert (answer.status, answer.headers.get("Content-Range")) == (status, said)
    assert body is None or answer.body == body
    if status == 416:
        assert answer.code == "RANGE_NOT_SATISFIABLE"


async def test_a_range_of_something_else_is_answered_with_all(ann: Device) -> None:
    path = await upload_file(ann, TEN)
    facts = (await send_request(ann, "GET", path)).headers

    for right in (facts["ETag"], facts["Last-Modified"]):
        assert (await send_request(ann, "GET", path, Range="bytes=0-1", If_Range=right)).status == 206
    for other in ('"another"', f"W/{facts['ETag']}", "Mon, 01 Jan 2024 00:00:00 GMT"):
        assert (await send_request(ann, "GET", path, Range="bytes=0-1", If_Range=other)).status == 200


async def test_what_the_client_has_is_not_sent_again(ann: Device) -> None:
    path = await upload_file(ann, TEN)
    facts = (await send_request(ann, "GET", path)).headers
    tag, time = facts["ETag"], facts["Last-Modified"]

    known = [
        {"If_None_Match": tag},
        {"If_None_Match": f'"x", W/{tag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": time},
    ]
    other = [{"If_None_Match": '"x"'}, {"If_None_Match": '"x"', "If_Modified_Since": time}]
    old = {"If_Modified_Since": "Mon, 01 Jan 2024 00:00:00 GMT"}

    for condition in known:
        answer = await send_request(ann, "GET", path, None, **condition)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    for condition in (*other, old):
        assert (await send_request(ann, "GET", path, None, **condition)).body == TEN


async def test_no_browser_shows_it_whatever_it_is(ann: Device) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    path = await upload_file(ann, page)

    headers = (await send_request(ann, "GET", path)).headers

    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cache-Control"] == "private, no-cache"


async def test_an_empty_one_is_whole_and_has_no_range(ann: Device) -> None:
    path = await create_upload(ann, 0)

    assert (await send_request(ann, "GET", path)).body == b""
    assert (await send_request(ann, "GET", path, Range="bytes=0-")).status == 416


async def test_bytes_that_are_not_on_this_node_are_unavailable(ann: Device, sqlite_node_server: NodeServer) -> None:
    path = await upload_file(ann, TEN)
    for each in (sqlite_node_server.settings.data_dir / "attachments").rglob("*"):
        if each.is_file():
            each.unlink()

    answer = await send_request(ann, "GET", path)

    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert "Retry-After" in answer.headers
