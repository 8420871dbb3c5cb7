"""The web node and raw bytes: each answer has the shape of an error and the common headers, and no request over a limit is read whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
import pytest_asyncio
from aiohttp import http_parser, web
from pydantic import Field
from structlog.testing import capture_logs

from vyry.errors import LimitPolicy, RateLimited
from vyry.limits import CLAIM_ALL, Grant
from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.app_keys import GRANTS, REQUEST_ID, Timeouts
from web.bodies import json_response, path_device_id, path_id, read_body, read_query
from web.connection import BoundedRunner, serve_app
from web.route import Route
from web.wire.shapes import WireModel


CLOSE = "Host: vyry\r\nConnection: close\r\n"
JSON = "Content-Type: application/json\r\n"
UPGRADE = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Word(WireModel):
    word: Annotated[str, Field(max_length=300_000)]


class Page(WireModel):
    limit: Annotated[int, Field(ge=1, le=9)] = 5
    flag: bool = False


async def echo(request: web.Request) -> web.Response:
    return json_response(await read_body(request, Word), 201)


async def page(request: web.Request) -> web.Response:
    return json_response(read_query(request, Page))


async def place(request: web.Request) -> web.Response:
    return json_response(Word(word=f"{path_id(request, 'userId')} {path_device_id(request, 'deviceId')}"))


async def crash(_: web.Request) -> web.Response:
    raise ZeroDivisionError("secret detail")


async def too_often(_: web.Request) -> web.Response:
    raise RateLimited(7, policy=LimitPolicy("claim_all", 60, 3600))


BEGUN, MAY_END, ENDED = (
    web.AppKey("begun", asyncio.Event),
    web.AppKey("may_end", asyncio.Event),
    web.AppKey("ended", asyncio.Event),
)


async def commit(request: web.Request) -> web.Response:
    request.app[BEGUN].set()
    await request.app[MAY_END].wait()
    request.app[ENDED].set()
    return json_response(Word(word="done"))


async def late_socket(request: web.Request) -> web.StreamResponse:
    """Opens its socket when the client may be gone."""
    await commit(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    return socket


async def late_fault(request: web.Request) -> web.Response:
    """Writes when the client may be gone."""
    await commit(request)
    raise ConnectionResetError("Cannot write to closing transport")


async def counted(request: web.Request) -> web.Response:
    request[GRANTS] = [("claim_all", Grant(60, 59, 12, 3600))]
    return json_response(Word(word=request[REQUEST_ID]))


ROUTES = (
    Route(
        method="POST",
        path="/echo",
        operation="test.echo",
        handler=echo,
        summary="",
        auth="open",
        body=Word,
        body_limit=1000,
    ),
    Route(method="GET", path="/page", operation="test.page", handler=page, summary="", auth="open", query=Page),
    Route(
        method="GET", path="/place/{userId}/{deviceId}", operation="test.place", handler=place, summary="", auth="open"
    ),
    Route(method="GET", path="/crash", operation="test.crash", handler=crash, summary="", auth="open"),
    Route(method="GET", path="/commit", operation="test.commit", handler=commit, summary="", auth="open"),
    Route(
        method="GET", path="/late-socket", operation="test.late_socket", handler=late_socket, summary="", auth="open"
    ),
    Route(method="GET", path="/late-fault", operation="test.late_fault", handler=late_fault, summary="", auth="open"),
    Route(
        method="GET",
        path="/too-often",
        operation="test.too_often",
        handler=too_often,
        summary="",
        auth="open",
        documented_quota=CLAIM_ALL,
    ),
    Route(
        method="GET",
        path="/counted",
        operation="test.counted",
        handler=counted,
        summary="",
        auth="open",
        documented_quota=CLAIM_ALL,
    ),
    Route(method="POST", path="/private", operation="test.echo", handler=echo, summary="", body=Word),
)


class Answer:
    """One answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def json(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


class RawClient:
    """Speaks bytes to the node."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port

    async def say(self, *pieces: str | bytes) -> Answer:
        """Send these bytes and read until the node closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece.encode() if isinstance(piece, str) else piece)
            return Answer(await asyncio.wait_for(reader.read(), 8))
        finally:
            writer.close()

    async def post(self, body: bytes, headers: str = JSON, path: str = "/echo") -> Answer:
        return await self.say(f"POST {path} HTTP/1.1\r\n{CLOSE}{headers}Content-Length: {len(body)}\r\n\r\n", body)

    async def get(self, path: str, headers: str = "", method: str = "GET") -> Answer:
        return await self.say(f"{method} {path} HTTP/1.1\r\n{CLOSE}{headers}\r\n")


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[RawClient]:
    settings = load_settings(
        Role.START, {"VYRY_DATA_DIR": str(tmp_path), "VYRY_CORS_ORIGINS": "https://chat.example.org"}
    )
    # None of these routes asks a service for anything.
    # What is left of a refused body is awaited for `rest`; these tests never send it.
    app = build_rest_app(settings, cast(Any, None), ROUTES, Timeouts(body=1, linger=0.05))
    for event in (BEGUN, MAY_END, ENDED):
        app[event] = asyncio.Event()
    async with serve_app(app, "127.0.0.1", 0) as port:
        yield RawClient(app, port)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in answer.headers


async def test_a_body_of_the_right_shape_is_read(node: RawClient) -> None:
    answered = await node.post(b'{"word":"hello"}', JSON.replace("\r\n", "; charset=utf-8\r\n"))

    assert (answered.status, answered.json) == (201, {"word": "hello"})
    assert "server" not in answered.headers


@pytest.mark.parametrize(
    "request_line",
    [
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /echo HTTP/1.1\r\nA B: c\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_the_same_shape(node: RawClient, request_line: str) -> None:
    assert_refused(await node.say(request_line), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "headers",
    [
        f"X-Long: {'a' * 9000}\r\n",
        f"{'X' * 9000}: a\r\n",
        "".join(f"X-{number}: a\r\n" for number in range(200)),
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "X: a\x00b\r\n",
        "X: a\r\n folded\r\n",
    ],
)
async def test_smuggled_and_oversize_headers_are_refused(node: RawClient, headers: str) -> None:
    assert_refused(await node.get("/page", headers), 400, "INVALID_REQUEST")


async def test_a_long_request_line_is_refused(node: RawClient) -> None:
    assert_refused(await node.get(f"/{'a' * 9000}"), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "path", ["/", "/echo/", "//echo", "/ECHO", "/%65cho%2f", "/..", "/echo%00", "/%ff", "/nowhere?x=1", "/place/1"]
)
async def test_an_unknown_path_is_not_found(node: RawClient, path: str) -> None:
    assert_refused(await node.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_another_method_is_told_which_there_are(node: RawClient, method: str) -> None:
    answered = await node.get("/echo", method=method)

    assert_refused(answered, 405, "METHOD_NOT_ALLOWED")
    assert answered.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/json; charset=latin-1\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        f"{JSON}Content-Encoding: gzip\r\n",
        f"{JSON}Content-Encoding: identity\r\n",
        f"{JSON}Content-Encoding: br\r\n",
    ],
)
async def test_another_media_type_or_an_encoding_is_refused(node: RawClient, headers: str) -> None:
    assert_refused(await node.post(b'{"word":"x"}', headers), 415, "UNSUPPORTED_MEDIA_TYPE")


async def test_an_announced_length_over_the_limit_is_refused_before_a_byte_comes(node: RawClient) -> None:
    answered = await node.say(f"POST /echo HTTP/1.1\r\n{CLOSE}{JSON}Content-Length: 1001\r\n\r\n")

    assert_refused(answered, 413, "PAYLOAD_TOO_LARGE")


async def test_a_chunked_body_is_cut_off_at_the_limit(node: RawClient) -> None:
    head = f"POST /echo HTTP/1.1\r\n{CLOSE}{JSON}Transfer-Encoding: chunked\r\n\r\n"

    answered = await node.say(head, *["400\r\n" + "a" * 1024 + "\r\n"] * 3)

    assert_refused(answered, 413, "PAYLOAD_TOO_LARGE")


async def test_a_body_that_dribbles_is_given_up(node: RawClient) -> None:
    answered = await node.say(f"POST /echo HTTP/1.1\r\n{CLOSE}{JSON}Content-Length: 12\r\n\r\n", '{"word')

    assert_refused(answered, 400, "INVALID_REQUEST")


async def test_a_broken_chunk_is_refused(node: RawClient) -> None:
    answered = await node.say(f"POST /echo HTTP/1.1\r\n{CLOSE}{JSON}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")

    assert_refused(answered, 400, "INVALID_REQUEST")


async def test_a_body_at_the_limit_is_read(node: RawClient) -> None:
    body = json.dumps({"word": "a" * 500}).encode().ljust(1000)

    assert (await node.post(body)).status == 201


async def test_a_client_that_waits_for_continue_is_invited_when_its_body_is_wanted(node: RawClient) -> None:
    head = f"POST /echo HTTP/1.1\r\n{CLOSE}{JSON}Expect: 100-continue\r\nContent-Length: 12\r\n\r\n"

    invited = await node.say(head, '{"word":"x"}')
    refused = await node.say(head.replace("Content-Length: 12", "Content-Length: 1200"))

    assert invited.status == 100
    assert invited.body.startswith(b"HTTP/1.1 201 ")
    assert_refused(refused, 413, "PAYLOAD_TOO_LARGE")


async def test_wrong_fields_are_named(node: RawClient) -> None:
    answered = await node.post(b'{"word":1,"other":2}')

    assert_refused(answered, 400, "INVALID_REQUEST")
    assert [each["field"] for each in answered.json["fields"]] == ["word", "other"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=10", "limit=x", "limit=", "limit=1&limit=2", "other=1", "flag=maybe", "limit=1%00", "Limit=1"],
)
async def test_query_parameters_are_closed_and_typed(node: RawClient, query: str) -> None:
    assert_refused(await node.get(f"/page?{query}"), 400, "INVALID_REQUEST")


async def test_query_parameters_are_read_by_their_type(node: RawClient) -> None:
    assert (await node.get("/page?limit=9&flag=true")).json == {"limit": 9, "flag": True}
    assert_refused(await node.post(b"{}", path="/echo?x=1"), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "path",
    [
        "x/1",
        "0198C2D4-7A00-7000-8000-000000000000/1",
        "0198c2d4-7a00-7000-8000-000000000000/01",
        "0198c2d4-7a00-7000-8000-000000000000/1e2",
    ],
)
async def test_what_is_no_id_names_nothing(node: RawClient, path: str) -> None:
    assert (await node.get("/place/0198c2d4-7a00-7000-8000-000000000000/127")).status == 200
    assert_refused(await node.get(f"/place/{path}"), 404, "NOT_FOUND")


async def test_a_fault_of_ours_tells_nothing_but_its_id(node: RawClient) -> None:
    answered = await node.get("/crash")

    assert_refused(answered, 500, "INTERNAL_ERROR")
    assert set(answered.json) == {"error", "error_code", "request_id"}
    assert b"secret" not in answered.body


async def test_who_comes_too_often_is_told_when_to_come_again(node: RawClient) -> None:
    answered = await node.get("/too-often")

    assert_refused(answered, 429, "RATE_LIMITED")
    assert answered.headers["retry-after"] == str(answered.json["retry_after_seconds"]) == "7"
    assert answered.headers["ratelimit"] == '"claim_all";r=0;t=7'
    assert answered.headers["ratelimit-policy"] == '"claim_all";q=60;w=3600'


async def test_a_limited_route_tells_what_is_left(node: RawClient) -> None:
    answered = await node.get("/counted")

    assert answered.headers["ratelimit"] == '"claim_all";r=59;t=12'
    assert answered.headers["ratelimit-policy"] == '"claim_all";q=60;w=3600'
    assert answered.json["word"] == answered.headers["x-request-id"]


async def test_the_token_is_asked_for_before_size_type_and_body(node: RawClient) -> None:
    assert_refused(await node.post(b"nonsense", "Content-Type: text/plain\r\n", "/private"), 401, "UNAUTHORIZED")
    assert_refused(await node.post(b"x", "Authorization: Basic YTpi\r\n", "/private"), 401, "INVALID_TOKEN")


async def test_an_upgrade_with_a_body_smuggles_no_second_request(node: RawClient) -> None:
    smuggled = f"GET /crash HTTP/1.1\r\n{CLOSE}\r\n"
    upgrade = "Connection: close, Upgrade\r\nUpgrade: websocket\r\n"

    answered = await node.say(
        f"GET /page HTTP/1.1\r\nHost: vyry\r\n{upgrade}{JSON}Content-Length: {len(smuggled)}\r\n\r\n{smuggled}"
    )

    assert answered.status == 400
    assert b"HTTP/1.1" not in answered.body


async def test_two_requests_on_one_connection_have_two_ids(node: RawClient) -> None:
    answered = await node.say("GET /counted HTTP/1.1\r\nHost: vyry\r\n\r\n", f"GET /counted HTTP/1.1\r\n{CLOSE}\r\n")

    first, _, rest = answered.body.partition(b"HTTP/1.1")

    assert json.loads(first)["word"] != Answer(b"HTTP/1.1" + rest).json["word"]


async def test_a_browser_may_ask_before_it_sends(node: RawClient) -> None:
    asked = "Origin: https://chat.example.org\r\nAccess-Control-Request-Method: POST\r\n"

    answered = await node.get("/echo", asked, "OPTIONS")

    assert answered.status == 204
    assert answered.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert answered.headers["access-control-allow-methods"] == "POST"


async def test_a_client_that_goes_away_cancels_nothing(node: RawClient) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(f"GET /commit HTTP/1.1\r\n{CLOSE}\r\n".encode())
    await asyncio.wait_for(node.app[BEGUN].wait(), 5)

    writer.transport.abort()
    # The node has noticed when it has answered somebody who came later.
    await node.get("/page")
    node.app[MAY_END].set()

    await asyncio.wait_for(node.app[ENDED].wait(), 5)


@pytest.mark.parametrize("upgrade", [True, False], ids=["during the upgrade", "during a request"])
async def test_a_client_that_is_gone_is_no_fault_of_the_node(node: RawClient, upgrade: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", node.port)
    with capture_logs() as lines:
        path, more = (
            ("late-socket", f"Host: vyry\r\nConnection: Upgrade\r\n{UPGRADE}") if upgrade else ("late-fault", CLOSE)
        )
        writer.write(f"GET /{path} HTTP/1.1\r\n{more}\r\n".encode())
        await asyncio.wait_for(node.app[BEGUN].wait(), 5)
        writer.transport.abort()
        await node.get("/page")
        node.app[MAY_END].set()
        await asyncio.wait_for(node.app[ENDED].wait(), 5)

    told = [(line["event"], line["log_level"], line["status"]) for line in lines if "late" in line.get("route", "")]
    assert told == [("request_finished", "info", 499)]


def test_the_node_does_not_run_on_the_lenient_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)

    with pytest.raises(RuntimeError, match="C parser"):
        BoundedRunner(web.Application())
