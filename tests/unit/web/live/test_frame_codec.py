"""Both encodings of frames: equal values in both, and any bytes are a value with one meaning or an error. Shapes check ranges and depth."""

from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.errors import InvalidRequest
from vyry.mail.store import Cursor
from web.live.codec import CODECS, JSON, MSGPACK, Codec


LARGEST = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
PLAIN = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT
PAYLOADS = st.dictionaries(
    TEXT, PLAIN | st.lists(PLAIN, max_size=4) | st.dictionaries(TEXT, PLAIN, max_size=4), max_size=5
)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(payload=PAYLOADS)
def test_a_payload_comes_back_as_it_went(codec: Codec, payload: dict[str, Any]) -> None:
    assert codec.decode(codec.encode(payload)) == payload


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(raw=st.binary(max_size=80))
def test_any_bytes_are_a_value_or_refused(codec: Codec, raw: bytes) -> None:
    with suppress(InvalidRequest):
        codec.decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        msgpack.packb({1: "a"}),
        msgpack.packb({"a": msgpack.ExtType(7, b"")}),
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\xa1b\x82\xa1a\xcc\x01\xa1a\x02",
        b"\x82\xa1a\xd1\x00\x01\xa1a\x02",
        b"\xa2\xff\xfe",
        b"\xa3\xed\xa0\x80",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        msgpack.packb({}) * 2,
    ],
)
def test_hostile_messagepack_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        MSGPACK.decode(raw)


def test_bytes_are_base64_in_one_form_and_bin_in_the_other() -> None:
    assert JSON.encode({"head": b"\x00\xff"}) == b'{"head":"AP8="}'
    assert msgpack.unpackb(MSGPACK.encode({"head": b"\x00\xff"})) == {"head": b"\x00\xff"}


@given(payload=PAYLOADS)
def test_a_payload_is_written_with_the_bytes_of_two_other_encoders(payload: dict[str, Any]) -> None:
    assert JSON.encode(payload) == orjson.dumps(payload)
    assert MSGPACK.encode(payload) == msgpack.packb(payload)


def test_domain_values_are_written_as_on_the_wire() -> None:
    cursor, user = Cursor(3, b"\x00\xff"), uuid4()

    assert orjson.loads(JSON.encode([cursor, user])) == [{"seq": 3, "head": "AP8="}, str(user)]
    assert msgpack.unpackb(MSGPACK.encode([cursor, user])) == [{"seq": 3, "head": b"\x00\xff"}, str(user)]
