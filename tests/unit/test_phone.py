"""Telephone numbers: read strictly, stored blind, shown masked."""

import pytest

from vyry.accounts.phone import Pepper, PhoneNumber, read_number
from vyry.errors import InvalidRequest


@pytest.mark.parametrize("text", ["+41791234567", "+15550001234", "+4915112345678", "+8613812345678"])
def test_e164_is_read(text: str) -> None:
    assert read_number(text).e164 == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "41791234567",
        "0041791234567",
        "+41 79 123 45 67",
        "+41-791234567",
        "+0791234567",
        "+411",
        "+4179123456789012",
        "+41791234567\n",
        "\u202a+41791234567",
        "+4179123456\u0667",
        "tel:+41791234567",
        "+99912345678",
    ],
)
def test_anything_else_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_number(text)

    assert refusal.value.members["fields"] == [{"field": "phoneNumber", "problem": "not E.164"}]


def test_a_number_is_masked_but_for_country_and_two_digits() -> None:
    assert PhoneNumber("+41791234567").masked == "+41•••••••67"
    assert PhoneNumber("+15550001234").masked == "+1••••••••34"


def test_a_number_never_shows_itself() -> None:
    number = PhoneNumber("+41791234567")

    assert "791234" not in f"{number} {number!r} {[number]}"


def test_what_is_stored_depends_on_the_pepper() -> None:
    number = PhoneNumber("+41791234567")
    one, other = Pepper(b"1" * 32), Pepper(b"2" * 32)

    assert one.hash_number(number) == one.hash_number(number) != other.hash_number(number)
    assert len(one.hash_number(number)) == 64
    assert one.unseal(one.seal(number)) == number
    assert one.seal(number) != one.seal(number)
    assert number.e164.encode() not in one.seal(number)
    assert "1111" not in repr(one)
