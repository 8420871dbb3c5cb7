"""The text form of recovery codes: encoding, tolerant decoding, and refusals."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from vyry.kernel.grouped_base32 import MistypedCode
from vyry.kernel.recovery_code import RECOVERY_CODE


VECTORS: dict[str, list[Any]] = json.loads(
    (ROOT / "tests" / "vectors" / "accounts" / "recovery-code.json").read_text("utf-8")
)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.mark.parametrize("case", VECTORS["codes"], ids=lambda case: case["text"])
def test_the_text_of_a_value_is_that_of_the_vectors(case: dict[str, str]) -> None:
    assert RECOVERY_CODE.encode(bytes.fromhex(case["value"])) == case["text"]
    assert RECOVERY_CODE.decode(case["text"]) == bytes.fromhex(case["value"])


@pytest.mark.parametrize("case", VECTORS["typed"], ids=lambda case: ascii(case["typed"]))
def test_a_code_is_read_as_people_type_it(case: dict[str, str]) -> None:
    assert RECOVERY_CODE.decode(case["typed"]) == bytes.fromhex(case["value"])


@pytest.mark.parametrize("text", VECTORS["refused"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(MistypedCode):
        RECOVERY_CODE.decode(text)


@given(st.binary(min_size=16, max_size=16))
def test_every_value_has_eight_groups_of_four_and_is_read_again(value: bytes) -> None:
    text = RECOVERY_CODE.encode(value)

    assert [len(group) for group in text.split("-")] == [4] * 8
    assert RECOVERY_CODE.decode(text) == value


@given(st.binary(min_size=16, max_size=16), st.integers(0, 31), st.sampled_from(ALPHABET))
def test_one_mistyped_character_is_found(value: bytes, place: int, typed: str) -> None:
    plain = RECOVERY_CODE.encode(value).replace("-", "")
    if plain[place] == typed:
        return

    with pytest.raises(MistypedCode):
        RECOVERY_CODE.decode(plain[:place] + typed + plain[place + 1 :])


@given(st.text(max_size=200))
def test_no_text_is_read_as_two_codes(text: str) -> None:
    try:
        value = RECOVERY_CODE.decode(text)
    except MistypedCode:
        return
    assert RECOVERY_CODE.decode(RECOVERY_CODE.encode(value)) == value
