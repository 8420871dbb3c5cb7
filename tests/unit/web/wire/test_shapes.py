"""The types that all shapes share, and the errors of invalid fields."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.errors import InvalidRequest
from web.bodies import validate
from web.wire.mailbox import Park
from web.wire.messages import PostRecipient
from web.wire.shapes import Base64, Base64Bytes, Count, Id, Timestamp, WireModel, from_base64, to_base64


PERSON = "0198c2d4-7a00-7000-8000-000000000000"


class Inner(WireModel):
    one_key: Annotated[bytes, Base64Bytes(2, 3)]


class Outer(WireModel):
    user_id: Id
    count: Count = 0
    content: Base64 | None = None
    seen_at: Timestamp | None = None
    key_list: list[Inner] | None = None


def wrong_fields(value: object) -> list[dict[str, str]]:
    with pytest.raises(InvalidRequest) as refused:
        validate(value, Outer)
    fields: list[dict[str, str]] = refused.value.members["fields"]  # type: ignore[assignment]  # members are objects
    return fields


@given(st.binary(max_size=200))
def test_bytes_come_back_as_they_went(octets: bytes) -> None:
    assert from_base64(to_base64(octets)) == octets
    assert to_base64(octets) == b64encode(octets).decode()


@pytest.mark.parametrize(
    "text",
    [
        "YQ",
        "YQ=",
        "YR==",
        "YWI",
        "YWJ=",
        "_-8=",
        "Y Q==",
        "YQ==\n",
        "YQ==YQ==",
        "=",
        "é===",
        "YQ===",
        "a",
        7,
        None,
        b"x" * 4,
    ],
)
def test_only_standard_padded_canonical_base64_is_read(text: object) -> None:
    with pytest.raises(ValueError, match="base64"):
        from_base64(text)


@given(st.text(max_size=12))
def test_any_text_is_base64_or_refused(text: str) -> None:
    try:
        octets = from_base64(text)
    except ValueError:
        return

    assert to_base64(octets) == text


@pytest.mark.parametrize(
    "text",
    [
        PERSON.upper(),
        PERSON.replace("-", ""),
        f"{{{PERSON}}}",
        f"urn:uuid:{PERSON}",
        f"{PERSON}\n",
        f" {PERSON}",
        "",
        PERSON[:-1],
        "٠" + PERSON[1:],
        7,
    ],
)
def test_an_id_is_written_in_one_way_only(text: object) -> None:
    assert wrong_fields({"userId": text}) == [{"field": "userId", "problem": "must be a UUID in lower case"}]


def test_a_shape_is_written_in_camel_case_with_every_field() -> None:
    shape = Outer(
        user_id=UUID(PERSON),
        content=b"ab",
        seen_at=datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC),
        key_list=[Inner(one_key=b"abc")],
    )

    assert shape.model_dump(mode="json") == {
        "userId": PERSON,
        "count": 0,
        "content": "YWI=",
        "seenAt": "2026-01-02T03:04:05.678Z",
        "keyList": [{"oneKey": "YWJj"}],
    }


def test_bytes_of_a_messagepack_frame_need_no_base64() -> None:
    assert validate({"userId": PERSON, "content": b"\x00\xff"}, Outer).content == b"\x00\xff"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "userId"),
        ({"user_id": PERSON}, "userId"),
        ({"userId": PERSON, "extra": 1}, "extra"),
        ({"userId": PERSON, "count": "1"}, "count"),
        ({"userId": PERSON, "count": 1.0}, "count"),
        ({"userId": PERSON, "count": True}, "count"),
        ({"userId": PERSON, "count": -1}, "count"),
        ({"userId": PERSON, "count": None}, "count"),
        ({"userId": PERSON, "seenAt": "2026-01-02T03:04:05Z"}, "seenAt"),
        ({"userId": PERSON, "seenAt": "2026-13-02T03:04:05.000Z"}, "seenAt"),
        ({"userId": PERSON, "keyList": [{"oneKey": "YWI="}, {"oneKey": "YQ=="}]}, "keyList.1.oneKey"),
        ({"userId": PERSON, "keyList": [{"oneKey": "YWI=", "z": 0}]}, "keyList.0.z"),
        ([], ""),
        (None, ""),
    ],
)
def test_a_wrong_field_is_named_by_its_camel_case_path(body: object, field: str) -> None:
    assert wrong_fields(body)[0]["field"] == field


def test_a_field_name_of_a_client_comes_back_short_and_few() -> None:
    fields = wrong_fields({"userId": PERSON} | {f"{number}" + "x" * 500: 1 for number in range(100)})

    assert len(fields) == 20
    assert max(len(each["field"]) for each in fields) == 64


def test_fields_that_the_node_does_not_read_are_optional() -> None:
    recipient = {"userId": "0198c2d4-7a00-7000-8000-000000000000", "devices": []}

    assert [validate(recipient | more, PostRecipient).epoch for more in ({}, {"epoch": 4})] == [None, 4]
    assert [validate({"seq": 1} | more, Park).reason for more in ({}, {"reason": "x"})] == [None, "x"]
