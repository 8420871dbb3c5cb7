"""Phone numbers: canonical form, storage, masking."""

from uuid import UUID

import pytest

from vyry.accounts.phone import Pepper, PhoneNumber, hash_number, read_number
from vyry.errors import InvalidRequest, Unavailable


OLD, NEW = b"o" * 32, b"n" * 32


@pytest.mark.parametrize("text", ["+41791234567", "0041 79 123 45 67", "+41 (0)79-123.45.67"])
def test_a_number_is_read_in_its_canonical_form(text: str) -> None:
    assert read_number(text) == PhoneNumber("+41791234567")


def test_a_refusal_names_the_field_and_what_is_wrong_with_the_number() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_number("+1-800-FLOWERS")

    fields = str(refusal.value.members["fields"])
    assert fields.startswith("[{'field': 'phoneNumber', 'problem': 'contains letters")
    assert "+49 151" in fields


def test_a_number_is_masked_but_for_country_and_two_digits() -> None:
    assert PhoneNumber("+41791234567").masked == "+41•••••••67"
    assert PhoneNumber("+15550001234").masked == "+1••••••••34"


def test_a_number_never_shows_itself() -> None:
    number = PhoneNumber("+41791234567")

    assert "791234" not in f"{number} {number!r} {[number]}"


def test_what_is_stored_depends_on_the_pepper() -> None:
    number = PhoneNumber("+41791234567")
    one, other = Pepper(b"1" * 32), Pepper(b"2" * 32)

    assert hash_number(one, number) == one.hide(number).hash != hash_number(other, number)
    assert len(hash_number(one, number)) == 64
    assert one.unseal(one.hide(number).sealed) == number
    assert one.hide(number).sealed != one.hide(number).sealed
    assert number.e164.encode() not in one.hide(number).sealed
    assert "1111" not in repr(one)


def test_what_an_older_pepper_made_is_found_and_read_under_a_newer_one() -> None:
    number, challenge = PhoneNumber("+41791234567"), UUID(int=1)
    before, after = Pepper(OLD), Pepper({1: OLD, 2: NEW}, 2)
    made = before.hide(number)

    hidden = after.hide(number)

    assert (hidden.pepper_id, set(hidden.hashes)) == (2, {1, 2})
    assert hidden.hash != made.hash == hidden.hashes[1]
    assert after.unseal(made.sealed) == number
    assert before.hash_code(challenge, "login", "123456") in after.guess_hashes(challenge, "login", "123456")
    assert after.keyed_hash(b"pin", b"x", 1) == before.keyed_hash(b"pin", b"x") != after.keyed_hash(b"pin", b"x")


def test_a_node_that_lacks_the_pepper_in_use_makes_and_finds_nothing() -> None:
    number = PhoneNumber("+41791234567")
    lacking = Pepper({1: OLD}, 2)

    for use in (
        lambda: lacking.hide(number),
        lambda: hash_number(lacking, number),
        lambda: lacking.guess_hashes(UUID(int=1), "login", "123456"),
        lambda: lacking.keyed_hash(b"pin", b"x", 2),
        lambda: lacking.in_use,
        lambda: lacking.unseal(Pepper({2: NEW}, 2).hide(number).sealed),
    ):
        with pytest.raises(Unavailable):
            use()


def test_what_is_stored_of_a_code_belongs_to_one_challenge_and_purpose() -> None:
    pepper, challenges = Pepper(b"p" * 32), (UUID(int=1), UUID(int=2))

    stored = {
        pepper.hash_code(challenge, purpose, code)
        for challenge in challenges
        for purpose in ("login", "pinReset")
        for code in ("012345", "012346")
    }

    assert len(stored) == 8
