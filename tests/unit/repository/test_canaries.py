"""The sweep finds what it looks for in every form, and nothing by accident: otherwise its silence would prove nothing."""

import base64
from urllib.parse import quote

import pytest

from tests.support.canaries import FoundSecret, collect_secrets, note_secrets, noted_secrets, scan


NUMBER = b"+4915112345678"
TOKEN = b"p5S-7Yx_0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "content",
    [
        b"sent to +4915112345678",
        b'"004915112345678"',
        b"number=" + quote(NUMBER).encode(),
        b"\\x" + NUMBER.hex().encode(),
        base64.b64encode(NUMBER),
        base64.b64encode(b"a" + NUMBER + b"b"),
        base64.urlsafe_b64encode(b"ab" + NUMBER),
    ],
)
def test_a_number_is_found_in_every_form(content: bytes) -> None:
    assert scan([("phone number", NUMBER)], [("log", content)]) == {FoundSecret("phone number", "log")}


def test_a_short_code_is_found_where_it_stands_alone() -> None:
    said = [("one", b"otp=012345 sent"), ("two", b'{"otp":"012345"}')]

    assert {found.location for found in scan([("one-time code", b"012345")], said)} == {"one", "two"}


@pytest.mark.parametrize("content", [b"at 20:46:11.012345Z", b"id 40123456", b"a012345f", b"-012345-"])
def test_a_short_code_inside_of_other_digits_is_none(content: bytes) -> None:
    assert scan([("one-time code", b"012345")], [("log", content)]) == set()


def test_what_is_hashed_or_masked_is_no_canary() -> None:
    masked = "+49\u2022\u2022\u2022\u2022\u202278".encode()

    assert scan([("phone number", NUMBER), ("access token", TOKEN)], [("log", masked + b"5f3a" * 16)]) == set()


def test_every_secret_of_a_body_is_noted_and_nothing_else() -> None:
    with collect_secrets() as fresh:
        note_secrets(
            {"phoneNumber": "+4915112399999", "device": {"name": "phone"}, "list": [{"linkToken": "a-token-of-a-link"}]}
        )
        note_secrets({"phoneNumber": "+49\u2022\u202299"})

    assert set(fresh) == {("phone number", b"+4915112399999"), ("link token", b"a-token-of-a-link")}
    assert "device" not in noted_secrets
