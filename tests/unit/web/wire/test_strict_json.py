"""Strict JSON: input that two parsers could read differently is rejected (docs/protocol.md, "Common rules")."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.errors import InvalidRequest
from web.bodies import parse_json


LARGEST = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT
FLAT = st.lists(SCALARS, max_size=5) | st.dictionaries(TEXT, SCALARS, max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(VALUES.filter(lambda value: depth(value) <= 8), st.booleans())
def test_what_a_client_may_say_reads_as_it_was_meant(value: Any, ensure_ascii: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ensure_ascii).encode()

    assert parse_json(raw) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except InvalidRequest:
        return

    assert json.loads(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"[1] [2]",
        b"01",
        b"+1",
        b".5",
        b"0x10",
        b"nul",
        b"// comment\n1",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1,"\\u0061":2}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\u0041"',
        b'{"\\udfff":1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"a\nb"',
        b'"\\x41"',
        b'"\\u0000"',
        b'{"\\u0000":1}',
        b"\x00",
        "{}".encode("utf-16"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(raw)


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, 0])
def test_integers_up_to_2_to_the_53_are_read(number: int) -> None:
    assert parse_json(str(number).encode()) == number


@pytest.mark.parametrize("text", [str(LARGEST + 1), str(-LARGEST - 1), "1" * 400, "1" * 200_000, "1e16"])
def test_larger_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(f'{{"a":[{text}]}}'.encode())


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_eight_levels_are_read_and_a_ninth_is_refused(opening: str, closing: str) -> None:
    assert parse_json((opening * 8 + "1" + closing * 8).encode())

    with pytest.raises(InvalidRequest):
        parse_json((opening * 9 + "1" + closing * 9).encode())


@pytest.mark.parametrize("raw", [b"[" * 9 + b"]" * 9, b"[" * 250_000, b'{"a":' * 50_000])
def test_depth_without_content_is_depth_too(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(raw)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
