"""The rules for new PINs."""

import pytest

from vyry.accounts.pin_rules import check_new_pin, normalize_pin
from vyry.errors import InvalidRequest


NUMBER = "+41791234567"


@pytest.mark.parametrize("pin", ["739251", "000791", "correct horse", "horse6", "٧٣٩٢٥١", "a" * 3 + "bcd" + "z" * 122])
def test_a_pin_worth_having_is_taken(pin: str) -> None:
    check_new_pin(pin, NUMBER, "pin")


@pytest.mark.parametrize(
    "pin",
    [
        *("12345", "", "x" * 129, "ⅷ" * 100),
        *(
            "123456",
            "654321",
            "135791",
            "890123",
            "abcdef",
            "000000",
            "      ",
            "121212",
            "123123",
            "abcabcabc",
            "112211",
        ),
        *("password", "PassWord1!", "letmein", "drowssap", "159753", "789456", "qwertz12", "１２３４５６", "①②③④⑤⑥"),
        *("791234", "41791234567", "0791234567"),
    ],
)
def test_what_people_try_first_is_refused(pin: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_new_pin(pin, NUMBER, "newPin")

    told = str(refused.value.members["fields"])
    assert "'field': 'newPin'" in told
    assert not pin.strip() or pin not in told


def test_few_of_all_numbers_are_refused() -> None:
    """A rule that refuses many PINs would save an attacker as many guesses."""
    taken = 0
    for number in range(0, 10**6, 101):
        try:
            check_new_pin(f"{number:06d}", NUMBER, "pin")
            taken += 1
        except InvalidRequest:
            pass

    assert taken > 0.99 * (10**6 / 101)


def test_a_pin_is_the_same_however_a_keyboard_writes_it() -> None:
    assert normalize_pin("e\u0301te\u0301 ８２") == normalize_pin("été 82")
    assert normalize_pin("٧٣٩٢٥١") == "739251"
    assert normalize_pin("Été") != normalize_pin("été")
