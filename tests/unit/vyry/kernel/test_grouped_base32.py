"""Secrets in groups of base32: a code that was written down is read again, and a wrong character is noticed."""

import secrets

import pytest

from vyry.kernel.grouped_base32 import GroupedBase32, MistypedCode


CODE = GroupedBase32(label=b"code", secret_bytes=16, check_bytes=4)
KEY = GroupedBase32(label=b"key", secret_bytes=32, check_bytes=3)
FORMS = pytest.mark.parametrize("form", [CODE, KEY], ids=["code", "key"])


@FORMS
def test_a_secret_is_groups_of_four(form: GroupedBase32) -> None:
    shown = form.encode(secrets.token_bytes(form.secret_bytes))
    assert [len(group) for group in shown.split("-")] == [4] * {CODE: 8, KEY: 14}[form]


@FORMS
def test_a_written_code_is_read(form: GroupedBase32) -> None:
    for content in (bytes(form.secret_bytes), b"\xff" * form.secret_bytes, secrets.token_bytes(form.secret_bytes)):
        assert form.decode(form.encode(content)) == content


@FORMS
def test_a_code_may_be_typed_in_other_ways(form: GroupedBase32) -> None:
    content = secrets.token_bytes(form.secret_bytes)
    shown = form.encode(content)
    for typed in (
        shown.lower(),
        shown.replace("-", " "),
        shown.replace("-", ""),
        f"  {shown}\n",
        shown.replace("0", "O").replace("1", "l"),
        shown.replace("0", "o").replace("1", "I"),
    ):
        assert form.decode(typed) == content


@FORMS
def test_every_wrong_character_and_every_swap_is_noticed(form: GroupedBase32) -> None:
    content = bytes(range(form.secret_bytes))
    shown = form.encode(content).replace("-", "")
    wrong = {shown[:place] + other + shown[place + 1 :] for place in range(len(shown)) for other in "0123456789ABCXYZ"}
    swapped = {shown[:place] + shown[place : place + 2][::-1] + shown[place + 2 :] for place in range(len(shown))}
    for typed in (wrong | swapped) - {shown}:
        with pytest.raises(MistypedCode):
            form.decode(typed)


@pytest.mark.parametrize(
    "typed", ["", "-", "0000", "0" * 31, "0" * 33, "U" * 32, "é" * 32, "0" * 10_000_000, "\0" * 32]
)
def test_another_text_is_refused(typed: str) -> None:
    with pytest.raises(MistypedCode):
        CODE.decode(typed)


@pytest.mark.parametrize(("secret", "check"), [(20, 0), (16, 3), (16, 5)])
def test_a_form_has_check_bytes_and_whole_groups(secret: int, check: int) -> None:
    with pytest.raises(ValueError, match="multiple of 5 bytes"):
        GroupedBase32(label=b"", secret_bytes=secret, check_bytes=check)


def test_the_secret_of_one_kind_is_no_secret_of_another() -> None:
    another = GroupedBase32(label=b"another", secret_bytes=16, check_bytes=4)

    with pytest.raises(MistypedCode, match="check"):
        another.decode(CODE.encode(bytes(16)))
