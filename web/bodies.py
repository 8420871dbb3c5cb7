"""Reading requests and writing responses: strict JSON, validation against shapes, path ids, and streamed bodies."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeVar
from uuid import UUID

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from jiter import from_json
from msgspec import Struct
from pydantic import BaseModel, ValidationError

from vyry.errors import InvalidRequest, NotFound, PayloadTooLarge, UnsupportedMediaType
from vyry.telemetry import ATTACHMENT_BYTES
from web.app_keys import ROUTE, TIMEOUTS
from web.wire.shapes import MAX_INTEGER, WireModel, encode_json, parse_id


MAX_DEPTH: Final = 8
#: An error lists at most so many invalid fields.
_MAX_LISTED_FIELDS: Final = 20
_BODY_LATE: Final = "The body did not arrive in time."
_BODY_MALFORMED: Final = "The request body is malformed or incomplete."
_NO_PATTERN: Final = "does not have the format of docs/protocol.md"
Shape = TypeVar("Shape", bound=BaseModel)
Fast = TypeVar("Fast")


def parse_json(raw: bytes) -> object:
    """The value of this JSON text.

    Raises:
        InvalidRequest: not UTF-8 or not JSON, a byte-order mark, duplicate keys, NaN or infinity, nesting over 8, an integer beyond 2^53-1,
            a lone surrogate, or a NUL character (which no database text can hold).
    """
    value = parse_json_unchecked(raw)
    check_values(value)
    return value


def parse_json_unchecked(raw: bytes) -> object:
    """As `parse_json`, without the checks of depth, ranges and NUL: enough for a value that a closed shape validates next."""
    try:
        return from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError:
        raise InvalidRequest("This is not valid JSON (RFC 8259, no duplicate keys, no lone surrogates).") from None


def check_values(value: object) -> None:
    """Check depth, ranges and NUL of a parsed value, level by level without recursion. Raises InvalidRequest."""
    level: Sequence[object] = [value]
    for _ in range(MAX_DEPTH):
        level = _child_values(level)
        if not level:
            return
    if any(type(value) in (dict, list) for value in level):
        raise InvalidRequest(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    _child_values(level)


def _child_values(level: Sequence[object]) -> list[object]:
    """Check the values of one level and return those of the next. Runs for each frame: comparing exact types is fastest."""
    below: list[object] = []
    for value in level:
        if type(value) is str:
            if "\x00" in value:
                raise InvalidRequest("Text must not contain NUL characters.")
        elif type(value) is dict:
            below += value
            below += value.values()
        elif type(value) is list:
            below += value
        elif (
            type(value) is int or type(value) is float
        ) and not -MAX_INTEGER <= value <= MAX_INTEGER:  # NaN is in no range
            raise InvalidRequest("A number is outside -(2^53-1) to 2^53-1.")
    return below


async def read_body(request: web.Request, shape: type[Shape]) -> Shape:
    """The body of this request as `shape`. `check_headers` has run before the handler.

    Raises:
        PayloadTooLarge: the body exceeds the route's limit.
        InvalidRequest: the body is not strict JSON or not of this shape, or it did not arrive in time.
    """
    if request[ROUTE].is_body_optional and not request.body_exists:
        return validate({}, shape)
    return validate(parse_json(await _receive_body(request)), shape)


async def read_frequent_body(
    request: web.Request, shape: type[Shape], read_fast: Callable[[bytes], Fast | None]
) -> Shape | Fast:
    """As `read_body`, for a route whose bodies `read_fast` reads faster; it returns None for those that it leaves to `shape`."""
    raw = await _receive_body(request)
    fast = read_fast(raw)
    return validate(parse_json(raw), shape) if fast is None else fast


def validate(value: object, shape: type[Shape]) -> Shape:
    """A parsed body or payload as `shape`. Raises InvalidRequest with the invalid `fields`."""
    try:
        return shape.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _refusal(error) from None


def read_query(request: web.Request, shape: type[Shape]) -> Shape:
    """The query of this request as `shape`. Raises InvalidRequest, also for a repeated or unknown parameter."""
    query = request.query
    if len(query) != len(set(query)):
        raise InvalidRequest("A query parameter is given more than once.")
    if any("\x00" in value for value in query.values()):
        raise InvalidRequest("Text must not contain NUL characters.")
    try:
        return shape.model_validate_strings(dict(query), by_alias=True, by_name=False)
    except ValidationError as error:
        raise _refusal(error) from None


def path_id(request: web.Request, name: str) -> UUID:
    """The id in the path under `name`. A malformed id raises NotFound."""
    try:
        return parse_id(request.match_info[name])
    except ValueError:
        raise NotFound from None


def path_device_id(request: web.Request, name: str) -> int:
    """The device id in the path under `name`. Raises NotFound for anything but a decimal number of up to three digits."""
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and str(int(text)) == text):
        raise NotFound
    return int(text)


def json_response(payload: WireModel | Mapping[str, object] | Struct, status: int = 200) -> web.Response:
    """A response with this body. Hot routes pass the members themselves, named as on the wire, or a struct."""
    if isinstance(payload, WireModel):
        body = payload.__pydantic_serializer__.to_json(payload, by_alias=True)
    else:
        body = encode_json(payload)
    return web.Response(body=body, status=status, content_type="application/json")


def check_headers(request: web.Request) -> None:
    """Check the body's headers: raises PayloadTooLarge for a length over the route's limit, UnsupportedMediaType for an encoding or another media type."""
    if (request.content_length or 0) > request[ROUTE].body_limit:
        raise PayloadTooLarge
    stream = request[ROUTE].stream_media_type
    is_right = request.content_type == stream if stream else _is_json(request)
    if "Content-Encoding" in request.headers or not is_right:
        raise UnsupportedMediaType


def _is_json(request: web.Request) -> bool:
    return request.content_type == "application/json" and (request.charset or "utf-8").lower() in ("utf-8", "utf8")


async def send_continue(request: web.Request) -> None:
    """Send `100 Continue` if the client waits for it."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _receive_body(request: web.Request) -> bytes:
    """The whole body. Raises PayloadTooLarge over the route's limit, InvalidRequest when it is late or malformed."""
    limit = request[ROUTE].body_limit
    body = bytearray()
    await send_continue(request)
    try:
        async with asyncio.timeout(request.app[TIMEOUTS].body):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise PayloadTooLarge
    except TimeoutError:
        raise InvalidRequest(_BODY_LATE) from None
    except (HttpProcessingError, ConnectionError):
        raise InvalidRequest(_BODY_MALFORMED) from None
    return bytes(body)


def _refusal(error: ValidationError) -> InvalidRequest:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidRequest(
        fields=[
            {"field": ".".join(map(str, p["loc"]))[:64], "problem": _problem(p["type"], p["msg"])}
            for p in problems[:_MAX_LISTED_FIELDS]
        ]
    )


def _problem(kind: str, text: str) -> str:
    """The problem of a field, in words: pydantic's message would show the pattern."""
    return _NO_PATTERN if kind == "string_pattern_mismatch" else text.removeprefix("Value error, ")


#: So many bytes must arrive within `Timeouts.chunk`.
_CHUNK_BYTES: Final = 64 << 10


async def read_chunks(request: web.Request) -> AsyncGenerator[bytes, None]:
    """The body in chunks, as it arrives. Raises InvalidRequest when it is incomplete, late or too slow."""
    timeouts, clock = request.app[TIMEOUTS], asyncio.get_running_loop().time
    await send_continue(request)
    received, since = 0, clock()
    try:
        while chunk := await asyncio.wait_for(request.content.readany(), timeouts.body):
            ATTACHMENT_BYTES.labels("in").inc(len(chunk))
            yield chunk
            received += len(chunk)
            if received >= _CHUNK_BYTES:
                received, since = 0, clock()
            elif clock() - since > timeouts.chunk:
                raise InvalidRequest("The request body is sent too slowly.")
    except TimeoutError:
        raise InvalidRequest(_BODY_LATE) from None
    except (HttpProcessingError, ConnectionError):
        raise InvalidRequest(_BODY_MALFORMED) from None


async def send_stream(
    request: web.Request, response: web.StreamResponse, content: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send `response` with content of the length that its headers name. An error before the first chunk is an error response; a later one cuts the connection."""
    async with aclosing(content):
        first = await anext(content, b"")
        if await _send_chunks(request, response, first, content):
            ATTACHMENT_BYTES.labels("out").inc(response.content_length or 0)
    return response


async def send_json_stream(request: web.Request, chunks: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send JSON as it is produced. An error before the second chunk is an error response; a later one cuts the connection, so half a document never looks whole."""
    async with aclosing(chunks):
        first = await anext(chunks) + await anext(chunks)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await _send_chunks(request, response, first, chunks)
    return response


async def _send_chunks(
    request: web.Request, response: web.StreamResponse, first: bytes, rest: AsyncGenerator[bytes, None]
) -> bool:
    """Send the whole response. False when the client disconnected or read too slowly."""
    await response.prepare(request)
    try:
        await response.write(first)
        async for chunk in rest:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        return False
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise
    return True
