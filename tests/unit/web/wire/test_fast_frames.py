"""The fast path of posts and acknowledgements, and the strict path: together they accept the same inputs as the strict path alone, with the same values."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vyry.errors import InvalidRequest
from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_COPIES, MAX_LIFE_SECONDS
from web.bodies import parse_json, validate
from web.live.codec import CODECS, JSON, Codec
from web.live.reader import BadFrame, _decode_frame
from web.live.session import SocketSession
from web.wire.fast_frames import FastFrame, read_json_post
from web.wire.mailbox import Acknowledge
from web.wire.messages import Post
from web.wire.shapes import to_base64


ID = "0190a0b4-7f1e-7abc-8def-0123456789ab"
SHAPES: dict[str, type[Post | Acknowledge]] = {"post": Post, "acknowledge": Acknowledge}


def as_octets(codec: Codec, octets: bytes) -> bytes | str:
    """Bytes as they stand in a payload."""
    return to_base64(octets) if codec is JSON else octets


def read_strictly(codec: Codec, raw: bytes) -> FastFrame | None:
    """The frame as the strict path reads it; None for another frame and for a refused one."""
    session = cast("SocketSession", SimpleNamespace(codec=codec, window=object()))
    try:
        name, ref, payload = _decode_frame(session, raw)
        return FastFrame(name, ref, cast("Any", validate(payload, SHAPES[name]))) if name in SHAPES else None
    except (BadFrame, InvalidRequest):
        return None


def fields(payload: object) -> object:
    """The fields that the node uses, of either form of a payload."""
    if isinstance(payload, Acknowledge) or not hasattr(payload, "recipients"):
        return cast("Any", payload).seq, cast("Any", payload).head
    post = cast("Any", payload)
    recipients = [
        (each.user_id, [(copy.device_id, copy.registration_id, copy.kind, copy.content) for copy in each.devices])
        for each in post.recipients
    ]
    head = post.message_id, post.conversation_id, post.conversation_version, post.lane, post.urgent
    return *head, post.expires_in_seconds, post.content, recipients


def assert_same(codec: Codec, raw: bytes) -> FastFrame | None:
    """What the fast path reads, the strict path reads as the same."""
    fast = codec.read_fast(raw)
    if fast is not None:
        strict = read_strictly(codec, raw)
        assert strict is not None
        assert (fast.name, fast.ref) == (strict.name, strict.ref)
        assert repr(fields(fast.payload)) == repr(fields(strict.payload))
    return fast


def post(codec: Codec, **changes: object) -> dict[str, Any]:
    """The frame of a post, with other values in its payload."""
    device = {"deviceId": 1, "registrationId": 7, "content": as_octets(codec, b"sealed")}
    payload = {"messageId": ID, "conversationId": ID, "recipients": [{"userId": ID, "devices": [device]}]}
    return {"type": "post", "id": "17", "payload": payload | changes}


def with_device(codec: Codec, **changes: object) -> dict[str, Any]:
    """The frame of a post, with other values in its copy."""
    frame = post(codec)
    frame["payload"]["recipients"][0]["devices"][0] |= changes
    return frame


def acknowledge(codec: Codec, **changes: object) -> dict[str, Any]:
    """The frame of an acknowledgement, with other values in its payload."""
    return {"type": "acknowledge", "id": "5", "payload": {"seq": 5, "head": as_octets(codec, bytes(32))} | changes}


def with_each(frame: Callable[..., dict[str, Any]], codec: Codec, **values: list[Any]) -> Iterator[dict[str, Any]]:
    """The frame with each of these values in one field at a time."""
    for name, each in values.items():
        for value in each:
            yield frame(codec, **{name: value})


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_the_frames_that_clients_send_are_read_on_the_fast_path(codec: Codec) -> None:
    optional = {"conversationVersion": 2**53 - 1, "lane": "control", "urgent": False, "expiresInSeconds": 1}
    frames = [
        post(codec),
        acknowledge(codec),
        post(codec, **optional, content=as_octets(codec, bytes(MAX_CONTENT_BYTES))),
        post(
            codec, conversationVersion=None, lane="mail", urgent=True, expiresInSeconds=MAX_LIFE_SECONDS, content=None
        ),
        post(codec, recipients=[{"userId": ID, "epoch": epoch, "devices": []} for epoch in (None, 0, 4)]),
        with_device(codec, kind=0, content=None),
        with_device(codec, deviceId=127, registrationId=16_380, kind=255),
        acknowledge(codec, seq=2**53 - 1) | {"id": "p\u00f6st : 1"},
    ]

    for frame in frames:
        assert assert_same(codec, codec.encode(frame)) is not None
        assert assert_same(codec, codec.encode(dict(reversed(frame.items())))) is not None


def test_a_json_frame_with_spaces_is_read_on_the_fast_path() -> None:
    assert assert_same(JSON, json.dumps(post(JSON) | {"id": " a  b "}).encode()) is not None


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_value_outside_of_its_bounds_is_left_to_the_strict_path(codec: Codec) -> None:
    octets = partial(as_octets, codec)
    ids: list[object] = [ID.upper(), ID[:-1], ID + "\n", ID.replace("-", ""), "urn:uuid:" + ID, f"{{{ID}}}", 1]
    changed = [
        *with_each(post, codec, messageId=ids, conversationId=ids),
        *with_each(post, codec, conversationVersion=[-1, 2**53, 2**64 - 1, 1.0, "1", True]),
        *with_each(post, codec, lane=["notice", None, 0], urgent=[None, 0, 1, "true"], other=[1]),
        *with_each(post, codec, expiresInSeconds=[0, MAX_LIFE_SECONDS + 1, None, 1.0]),
        *with_each(post, codec, content=[octets(b""), octets(bytes(MAX_CONTENT_BYTES + 1)), 1, [1]]),
        *with_each(post, codec, recipients=[[], None, {}, [1], [{"userId": ID, "devices": []}] * (MAX_COPIES + 1)]),
        *with_each(post, codec, recipients=[[{"userId": ID, "devices": [{"deviceId": 1, "registrationId": 7}] * 128}]]),
        *with_each(post, codec, recipients=[[{"userId": ID, "devices": [], "other": 1}]]),
        *with_each(with_device, codec, deviceId=[0, 128, True, None], registrationId=[0, 16_381]),
        *with_each(with_device, codec, kind=[-1, 256, None, False]),
        *with_each(acknowledge, codec, seq=[-1, 2**53, 1.0, "5", None]),
        *with_each(acknowledge, codec, head=[octets(bytes(size)) for size in (0, 31, 33)]),
        *(acknowledge(codec) | {"id": ref} for ref in ("", "x" * 65)),
        *(acknowledge(codec) | {name: None} for name in ("ref", "payload")),
        post(codec) | {"type": "acknowledge"},
        {"type": "ping", "id": "1"},
    ]

    for frame in changed:
        assert codec.read_fast(codec.encode(frame)) is None
        assert read_strictly(codec, codec.encode(frame)) is None


JSON_POST, JSON_ACKNOWLEDGE = JSON.encode(post(JSON)), JSON.encode(acknowledge(JSON))
MSGPACK = CODECS["vyry.v1.msgpack"]
MSGPACK_POST, MSGPACK_ACKNOWLEDGE = MSGPACK.encode(post(MSGPACK)), MSGPACK.encode(acknowledge(MSGPACK))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"seq":5', b'"seq":5,"seq":5'),
        (b'"seq":5', b'"seq":5,"\\u0073eq":5'),
        (b'"id":"5"', b'"id":"   ","id":"5"'),
        (b'"id":"5"', b'"id":"5","id":"\\u0020"'),
        (b'"type":"acknowledge"', b'"type":"post","type":"acknowledge"'),
        (b'"payload":', b'"payload":{},"payload":'),
        (b'"seq":5', b'"seq":5.0'),
        (b'"seq":5', b'"seq":5e0'),
        (b'"seq":5', b'"seq":05'),
        (b'"id":"5"', b'"id":"\\ud800"'),
        (b'"id":"5"', b'"id":"\xed\xa0\x80"'),
        (b'"id":"5"', b'"id":"\x00"'),
        (b'"id":"5"', b'"id":"\xc0\xaf"'),
        (b"=", b""),
        (b"AAA=", b"AAB="),
        (b"AAA=", b"AA-="),
        (b"{", b"\xef\xbb\xbf{"),
        (b"}}", b"}},"),
        (b"}}", b"}}{}"),
        (b"}}", b"}}\x00"),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_left_to_the_strict_path(before: bytes, after: bytes) -> None:
    raw = JSON_ACKNOWLEDGE.replace(before, after, 1)

    assert raw != JSON_ACKNOWLEDGE
    assert JSON.read_fast(raw) is None
    assert read_strictly(JSON, raw) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x82\xa3seq\x05", b"\x83\xa3seq\x05\xa3seq\x05"),
        (b"\xa3seq\x05", b"\xa3seq\xca\x40\xa0\x00\x00"),
        (b"\xa3seq\x05", b"\xc4\x03seq\x05"),
        (b"\xa3seq\x05", b"\x05\x05"),
        (b"\xa3seq\x05", b"\xa3seq\xd4\x05\x05"),
        (b"\xa2id\xa15", b"\xa2id\xc4\x015"),
        (b"\xa2id\xa15", b"\xa2id\xa1\xff"),
        (b"\xa2id\xa15", b"\xa2id\xa3\xed\xa0\x80"),
        (b"\xc4\x20", b"\xc7\x20\x05"),
    ],
)
def test_messagepack_that_could_be_read_in_two_ways_is_left_to_the_strict_path(before: bytes, after: bytes) -> None:
    raw = MSGPACK_ACKNOWLEDGE.replace(before, after, 1)

    assert raw != MSGPACK_ACKNOWLEDGE
    assert MSGPACK.read_fast(raw) is None
    assert read_strictly(MSGPACK, raw) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xa3seq\x05", b"\xa3seq\xcc\x05"),
        (b"\xa3seq\x05", b"\xa3seq\xd3\x00\x00\x00\x00\x00\x00\x00\x05"),
        (b"\xa3seq", b"\xd9\x03seq"),
        (b"\xa2id\xa15", b"\xa2id\xd9\x015"),
        (b"\xc4\x20", b"\xc5\x00\x20"),
        (b"\x82\xa3seq", b"\xde\x00\x02\xa3seq"),
    ],
)
def test_a_longer_form_of_messagepack_is_read_by_the_strict_path(before: bytes, after: bytes) -> None:
    raw = MSGPACK_ACKNOWLEDGE.replace(before, after, 1)

    assert raw != MSGPACK_ACKNOWLEDGE
    assert MSGPACK.read_fast(raw) is None
    assert read_strictly(MSGPACK, raw) is not None


PIECES = [
    *(b'"seq":5,', b'"kind":0,', b'"content":null,', b'"id":"   ",', b'"type":"post",', b'"lane":"mail",', b"\\u0041"),
    *(b" ", b"\n", b"\t", b"0", b"-", b".0", b"e0", b"1e2", b"=", b"\\", b'"', b",", b"{}", b"[]", b"null", b"true"),
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xca\x40\xa0\x00\x00", b"\xa3seq\x05", b"\xa4kind\x00"),
    *(b"\xc0", b"\xc4\x01a", b"\xd9\x01a", b"\xcc\x05", b"\xd4\x05\x05", b"\x80", b"\x90", b"\x83", b"\x84"),
]


@st.composite
def damaged(draw: Callable[..., Any], whole: bytes) -> bytes:
    """The bytes of a valid frame with some of them removed, replaced or moved, and pieces put between them."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 4)) | st.just(start))
        far = draw(st.integers(0, len(raw)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=3) | st.just(bytes(raw[far : far + 12])))
        raw[start:end] = piece
    return bytes(raw)


@given(damaged(JSON_POST) | damaged(JSON_ACKNOWLEDGE))
@example(JSON_ACKNOWLEDGE.replace(b'"id":"5"', b'"id":" ","id":"5"'))
def test_damaged_json_means_the_same_on_both_paths(raw: bytes) -> None:
    assert_same(JSON, raw)


@given(damaged(MSGPACK_POST) | damaged(MSGPACK_ACKNOWLEDGE))
def test_damaged_messagepack_means_the_same_on_both_paths(raw: bytes) -> None:
    assert_same(MSGPACK, raw)


VALUES = (
    st.none()
    | st.booleans()
    | st.sampled_from(
        [0, 1, 127, 128, 2**31, 2**32, 2**53 - 1, 2**53, 2**63, -1, 0.0, 1.0, 1e300, ID, ID.upper(), "mail"]
    )
    | st.text(st.characters(codec="utf-8"), max_size=3)
    | st.lists(st.integers(0, 3), max_size=2)
    | st.dictionaries(st.sampled_from(["kind", "seq"]), st.integers(0, 3), max_size=2)
)
NAMES = st.sampled_from(
    [*(["payload"] * 2), "type", "id", "messageId", "lane", "urgent", "content", "seq", "head", "kind"]
)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(st.dictionaries(NAMES, VALUES, max_size=2), st.dictionaries(NAMES, VALUES, max_size=2), st.booleans())
def test_other_values_mean_the_same_on_both_paths(
    codec: Codec, outside: dict[str, Any], inside: dict[str, Any], is_escaped: bool
) -> None:
    for frame in (post(codec, **inside), acknowledge(codec, **inside), with_device(codec, **inside)):
        changed = frame | outside
        text = json.dumps(changed, ensure_ascii=is_escaped) if codec is JSON else ""
        assert_same(codec, text.encode() or msgpack.packb(changed))


def test_the_body_of_a_post_is_read_as_its_frame() -> None:
    payload = JSON.encode(post(JSON)["payload"])

    fast = read_json_post(payload)

    assert repr(fields(fast)) == repr(fields(validate(parse_json(payload), Post)))
    assert read_json_post(payload.replace(b'"messageId"', b'"messageId":"","messageId"')) is None
    assert read_json_post(b"[" * 100_000) is None
