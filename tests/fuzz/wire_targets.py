"""Fuzz targets of the wire: what the doors read before anybody is recognised. Each is held against a slow reading of the same bytes."""

import json
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import quote
from uuid import UUID

import msgspec
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from msgpack import UnpackException, fallback
from pydantic import BaseModel

from vyry.errors import InvalidRequest, NotFound
from web.bodies import MAX_DEPTH, check_values, parse_json, path_device_id, path_id, read_query, validate
from web.live import reader
from web.live.codec import JSON, MSGPACK, Codec
from web.live.session import SocketSession
from web.proxy_protocol import HEAD_BYTES, InvalidProxyHeader, parse_head, parse_source
from web.routes import ROUTES
from web.websocket_frames import FrameValidator
from web.wire.frames import FRAMES
from web.wire.shapes import MAX_INTEGER, from_base64, parse_id, parse_timestamp, to_base64, to_rfc3339


#: Every shape that a client fills, by name.
BODIES: Final[dict[str, type[BaseModel]]] = {
    shape.__name__: shape
    for shape in (
        *(route.body for route in ROUTES if route.body),
        *(frame.payload for frame in FRAMES if frame.sender == "client"),
    )
}
QUERIES: Final[dict[str, type[BaseModel]]] = {route.query.__name__: route.query for route in ROUTES if route.query}


def json_text(raw: bytes) -> None:
    """Strict JSON: what is taken means the same to Python's own reader, which is held to the rules one by one."""
    try:
        value = parse_json(raw)
    except InvalidRequest:
        return
    assert repr(slow_json(raw)) == repr(value)


def slow_json(raw: bytes) -> object:
    """The rules of docs/protocol.md, section 1, one after the other."""
    text = raw.decode("utf-8")
    assert not text.startswith("\ufeff")
    value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
    _check_value(value, MAX_DEPTH)
    return value


def proxy_header(raw: bytes) -> None:
    """A PROXY header is refused, or names the address that stands at its place in the bytes, or none."""
    try:
        command, family, length = parse_head(raw[:HEAD_BYTES])
        rest = raw[HEAD_BYTES : HEAD_BYTES + length]
        if len(rest) < length:
            return
        source = parse_source(command, family, rest)
    except InvalidProxyHeader:
        return
    assert source is None or rest.startswith(source.packed) or rest[12:].startswith(source.packed)


def msgpack_value(raw: bytes) -> None:
    """MessagePack: what is taken means the same to the reader in plain Python, and survives a round trip."""
    try:
        value = MSGPACK.decode(raw)
        check_values(value)
    except InvalidRequest:
        return
    slow = fallback.Unpacker(object_pairs_hook=_distinct, ext_hook=_refuse, strict_map_key=True)
    slow.feed(raw)
    assert repr(slow.unpack()) == repr(value)
    try:
        slow.unpack()
    except UnpackException:
        assert repr(MSGPACK.decode(MSGPACK.encode(value))) == repr(value)
    else:
        raise AssertionError("two values were taken for one")


def frame(raw: bytes) -> None:
    """Frames in both codecs, before and after hello: a name of the table and an id, or no frame at all."""
    for codec in (JSON, MSGPACK):
        for window in (None, object()):
            session = cast(SocketSession, SimpleNamespace(codec=codec, window=window))
            try:
                name, ref, payload = reader._decode_frame(session, raw)
            except reader.BadFrame:
                continue
            assert name in reader._FRAME_NAMES
            assert window is not None or name == "hello"
            assert 1 <= len(ref) <= 64
            _payload(codec, name, payload)


def fast_frame(raw: bytes) -> None:
    """Posts and acknowledgements: what the fast path reads, the strict path reads as the same."""
    for codec in (JSON, MSGPACK):
        fast = codec.read_fast(raw)
        if fast is None:
            continue
        name, ref, payload = reader._decode_frame(
            cast(SocketSession, SimpleNamespace(codec=codec, window=object())), raw
        )
        assert (fast.name, fast.ref) == (name, ref)
        shape = next(each.payload for each in FRAMES if each.name == name and each.sender == "client")
        strict = validate(payload, shape).model_dump(mode="python", by_alias=False)
        for recipient in strict.get("recipients", ()):
            del recipient["epoch"]
        assert repr(msgspec.to_builtins(fast.payload, builtin_types=(bytes, UUID))) == repr(strict)


def _payload(codec: Codec, name: str, payload: object) -> None:
    shape = next(each.payload for each in FRAMES if each.name == name and each.sender == "client")
    try:
        if name not in {"post", "acknowledge"}:
            check_values(payload)
        understood = validate(payload, shape)
    except InvalidRequest:
        return
    again = codec.decode(codec.encode(understood.model_dump(by_alias=True, exclude_unset=True, mode="python")))
    assert validate(again, shape) == understood


def body(raw: bytes) -> None:
    """`Shape`, a new line, JSON: a body that is taken says the same once it is written out again."""
    name, _, text = raw.partition(b"\n")
    shape = BODIES.get(name.decode("latin-1"))
    if shape is None:
        return
    try:
        value = validate(parse_json(text), shape)
    except InvalidRequest:
        return
    written = value.model_dump_json(by_alias=True, exclude_unset=True).encode()
    assert validate(parse_json(written), shape) == value


def query(raw: bytes) -> None:
    """`Shape`, a new line, a query: numbers, cursors and tickets of a URL."""
    name, _, text = raw.partition(b"\n")
    shape = QUERIES.get(name.decode("latin-1"))
    if shape is None:
        return
    try:
        request = make_mocked_request("GET", "/?" + quote(text, safe="&=%+-"))
        value = read_query(request, shape)
    except (InvalidRequest, ValueError):
        return
    written = "&".join(
        f"{key}={quote(str(each))}" for key, each in value.model_dump(by_alias=True, exclude_unset=True).items()
    )
    assert read_query(make_mocked_request("GET", f"/?{written}"), shape) == value


def path_name(raw: bytes) -> None:
    """What stands in a path where an id or a device number belongs: one text names one thing."""
    text = raw.decode("latin-1")
    request = cast(web.Request, SimpleNamespace(match_info={"it": text}))
    for read in (path_id, path_device_id):
        try:
            assert str(read(request, "it")) == text
        except NotFound:
            continue


def scalar(raw: bytes) -> None:
    """Base64, ids and moments: the one way of writing, or a ValueError."""
    text = raw.decode("latin-1")
    for read, write in ((from_base64, to_base64), (parse_id, str), (parse_timestamp, to_rfc3339)):
        try:
            value: Any = read(text)
        except ValueError:
            continue
        assert cast(Any, write)(value) == text


def socket_bytes(raw: bytes) -> None:
    """Frames of RFC 6455: the same bytes are handed on, however they were cut on the way."""
    whole, bitten = _RecordingReader(), _RecordingReader()
    FrameValidator(whole).feed_data(raw)
    strict = FrameValidator(bitten)
    for place in range(len(raw)):
        strict.feed_data(raw[place : place + 1])
    assert bytes(whole.octets) == bytes(bitten.octets)
    assert not raw.startswith((b"\x81\x00", b"\x82\x05")) or whole.octets[:2] != raw[:2]


class _RecordingReader:
    """A frame reader that keeps what it is handed."""

    def __init__(self) -> None:
        self.octets = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.octets += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def _distinct(pairs: list[tuple[object, object]]) -> dict[object, object]:
    found = dict(pairs)
    assert len(found) == len(pairs), "a name stands twice"
    return found


def _refuse(*_: object) -> object:
    raise AssertionError("a constant or an extension was taken")


def _check_value(value: object, depth: int) -> None:
    assert depth >= 0 or not isinstance(value, dict | list), "too deep"
    match value:
        case str():
            assert "\x00" not in value
            value.encode("utf-8")
        case bool() | None:
            pass
        case int() | float():
            assert -MAX_INTEGER <= value <= MAX_INTEGER
        case dict():
            for key, each in value.items():
                _check_value(key, depth - 1)
                _check_value(each, depth - 1)
        case list():
            for each in value:
                _check_value(each, depth - 1)
        case _:
            raise AssertionError(f"no JSON has a {type(value).__name__}")
