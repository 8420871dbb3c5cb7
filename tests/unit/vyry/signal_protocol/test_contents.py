"""Contents and blobs: a content reads as it was written, and only in its conversation."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.contents import Content, read_content, write_object
from vyry.signal_protocol.refusals import (
    BadContent,
    ContextMismatch,
    Refusal,
    UnknownVersion,
)


HERE = UUID(int=7)
SAID: dict[str, Any] = {
    "v": 1,
    "kind": "text",
    "id": str(uuid4()),
    "at": 5,
    "conversationId": str(HERE),
    "text": "hello",
}


@given(st.text(), st.integers(0, 2**53 - 1))
def test_what_is_said_is_read_as_it_was_said(text: str, at: int) -> None:
    said = Content("text", uuid4(), at, HERE, {"text": text.encode("utf-8", "replace").decode()})

    assert read_content(said.pack(), HERE) == said


def test_a_kind_and_fields_of_a_newer_version_are_kept() -> None:
    found = read_content(json.dumps({**SAID, "kind": "hologram", "more": [1]}).encode(), HERE)

    assert (found.kind, found.fields) == ("hologram", {"text": "hello", "more": [1]})


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        *(({name: ...}, BadContent) for name in ("v", "kind", "id", "at", "conversationId")),
        ({"v": 2}, UnknownVersion),
        ({"v": True}, BadContent),
        ({"v": "1"}, BadContent),
        ({"kind": 1}, BadContent),
        ({"id": "x"}, BadContent),
        ({"id": SAID["id"].upper()}, BadContent),
        ({"id": 7}, BadContent),
        ({"at": -1}, BadContent),
        ({"at": 1.5}, BadContent),
        ({"at": True}, BadContent),
        ({"conversationId": str(uuid4())}, ContextMismatch),
        ({"conversationId": None}, BadContent),
    ],
)
def test_what_is_no_content_of_this_conversation_is_refused(change: dict[str, Any], refusal: type[Refusal]) -> None:
    said = {name: value for name, value in {**SAID, **change}.items() if value is not ...}

    with pytest.raises(refusal):
        read_content(json.dumps(said).encode(), HERE)


@pytest.mark.parametrize("plaintext", [b"", b"[]", b"1", b"\xff{}", b"{", b"NaN", b"[" * 100_000])
def test_what_is_no_object_is_refused(plaintext: bytes) -> None:
    with pytest.raises(BadContent):
        read_content(plaintext, HERE)


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ('"kind":', '"kind":"text","kind":'),
        ('"kind":', '"\\u006bind":"text","kind":'),
        ('"more":', '"more":{"a":1,"a":1},"x":'),
        ('"more":', '"more":[[{"deep":{"a":1,"b":2,"a":3}}]],"x":'),
    ],
    ids=["at the top", "escaped", "inside", "deep inside"],
)
def test_an_object_with_a_name_twice_is_refused(name: str, again: str) -> None:
    text = json.dumps({**SAID, "more": [{"a": 1}, {"a": 1}]}, separators=(",", ":"))
    assert read_content(text.encode(), HERE).fields["more"] == [{"a": 1}, {"a": 1}]

    with pytest.raises(BadContent):
        read_content(text.replace(name, again, 1).encode(), HERE)


def test_names_that_would_be_one_as_json_are_not_written() -> None:
    with pytest.raises(BadContent):
        write_object({"a": {1: "one", "1": "another"}})


UNKEEPABLE: list[object] = [
    "\ud800",
    {"\udfff": 1},
    2**63,
    -(2**63),
    float("inf"),
    json.loads("[" * 40 + "]" * 40),
]


@pytest.mark.parametrize("value", UNKEEPABLE, ids=lambda value: str(type(value)))
def test_what_nobody_could_keep_is_neither_read_nor_written(value: object) -> None:
    text = json.dumps({**SAID, "more": value}).replace("Infinity", "1e999").encode()

    with pytest.raises(BadContent):
        read_content(text, HERE)
    with pytest.raises(BadContent):
        Content("text", uuid4(), 1, HERE, {"more": value}).pack()


@given(st.recursive(st.none() | st.booleans() | st.text() | st.floats(), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_is_read_can_be_kept_and_said_again(value: object) -> None:
    try:
        said = Content("text", uuid4(), 1, HERE, {"more": value}).pack()
    except BadContent:
        return
    found = read_content(said, HERE)

    assert unpack(Content, pack(found)).pack() == said
    assert read_content(found.pack(), HERE) == found


def test_no_field_takes_the_place_of_a_common_one() -> None:
    with pytest.raises(BadContent):
        Content("text", uuid4(), 1, HERE, {"at": 2}).pack()
