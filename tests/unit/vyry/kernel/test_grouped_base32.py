"""Secrets in groups of base32: a code that was written down is read again, and a wrong character is noticed."""

import secrets

import pytest

from vyry.kernel.grouped_base32 import MistypedCode, decode_groups, encode_groups


SIZES = pytest.mark.parametrize(("length", "groups"), [(16, 8), (32, 14)])


@SIZES
def test_a_secret_is_groups_of_four(length: int, groups: int) -> None:
    shown = encode_groups(secrets.token_bytes(length), groups)
    assert [len(group) for group in shown.split("-")] == [4] * groups


@SIZES
def test_a_written_code_is_read(length: int, groups: int) -> None:
    for content in (bytes(length), b"\xff" * length, secrets.token_bytes(length)):
        assert decode_groups(encode_groups(content, groups), length, groups) == content


@SIZES
def test_a_code_may_be_typed_in_other_ways(length: int, groups: int) -> None:
    content = secrets.token_bytes(length)
    shown = encode_groups(content, groups)
    for typed in (
        shown.lower(),
        shown.replace("-", " "),
        shown.replace("-", ""),
        f"  {shown}\n",
        shown.replace("0", "O").replace("1", "l"),
        shown.replace("0", "o").replace("1", "I"),
    ):
        assert decode_groups(typed, length, groups) == content


@SIZES
def test_every_wrong_character_and_every_swap_is_noticed(length: int, groups: int) -> None:
    content = bytes(range(length))
    shown = encode_groups(content, groups).replace("-", "")
    wrong = {shown[:place] + other + shown[place + 1 :] for place in range(len(shown)) for other in "0123456789ABCXYZ"}
    swapped = {shown[:place] + shown[place : place + 2][::-1] + shown[place + 2 :] for place in range(len(shown))}
    for typed in (wrong | swapped) - {shown}:
        with pytest.raises(MistypedCode):
            decode_groups(typed, length, groups)


@pytest.mark.parametrize(
    "typed", ["", "-", "0000", "0" * 31, "0" * 33, "U" * 32, "é" * 32, "0" * 10_000_000, "\0" * 32]
)
def test_another_text_is_refused(typed: str) -> None:
    with pytest.raises(MistypedCode):
        decode_groups(typed, 16, 8)


def test_a_code_needs_room_for_check_characters() -> None:
    with pytest.raises(ValueError, match="no check character"):
        encode_groups(bytes(20), 8)
