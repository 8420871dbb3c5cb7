"""Names and titles as they are kept and shown: on one line, seen, and in the unit that people count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.kernel.display_text import (
    InvalidText,
    clean_line,
    clean_lines,
    comparison_key,
    display_length,
    truncate,
    validate_line,
    validate_lines,
)


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("  Bo \t Lee\u00a0\u3000", "Bo Lee"),
        ("M\n@bo_lee: pay", "M @bo_lee: pay"),
        ("M\u2028@bo\u2029@cy\x85x\x0by\rz", "M @bo @cy x y z"),
        ("\x1b[2K\rgone\x9b1A\x07", "[2K gone 1A"),
        ("\u202eeel_ob@\u202c \u2066x\u2069\u200f", "eel_ob@ x"),
        ("bo\u200d_\u200clee\u200b\ufeff\u2060\u00ad", "bo_lee"),
        ("Ame\u0301lie", "Am\u00e9lie"),
        ("e\u200b\u0301", "\u00e9"),
        ("\u0301\u0302x", "x"),
        ("a" + "\u0332" * 99, "a" + "\u0332" * 8),
        ("\u3164\u2800\u115f\u034f\ufe0f", ""),
        ("hidden\U000e0061\U000e0062", "hidden"),
        ("x\ufffe\U0001ffff", "x"),
    ],
)
def test_what_steers_or_cannot_be_seen_is_not_in_a_name(written: str, shown: str) -> None:
    assert clean_line(written) == shown


@pytest.mark.parametrize(
    "name",
    [
        FAMILY,
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f469\U0001f3fd\u200d\u2695\ufe0f",
        ENGLAND,
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0b95\u0bcd\u200c\u0bb7",
        "\u0d28\u0d4d\u200d",
        "\u05d0\u05b8\u05d1 ben",
        "\u674e \u5c0f\u9f8d",
        "1\ufe0f\u20e3",
    ],
)
def test_joiners_marks_and_flags_stay_where_scripts_and_emoji_need_them(name: str) -> None:
    assert clean_line(name) == name


@given(st.text())
def test_cleaning_twice_changes_nothing_and_leaves_one_line(text: str) -> None:
    once = clean_line(text)

    assert clean_line(once) == once == clean_lines(once)
    assert len(once.splitlines()) <= 1
    assert len(clean_lines(text).split("\n")) >= len(clean_lines(clean_lines(text)).split("\n"))
    assert clean_lines(clean_lines(text)) == clean_lines(text)


def test_words_of_several_lines_keep_their_lines() -> None:
    assert clean_lines("\n Walks \r\n\n\n\n and\u2028talks\x00 ") == "Walks\n\nand\ntalks"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Bo", 2),
        ("e\u0301", 1),
        (FAMILY, 1),
        (ENGLAND, 1),
        ("\U0001f1e8\U0001f1ed\U0001f1e9\U0001f1ea", 2),
        ("\u0645\u06cc\u200c\u062e", 3),
    ],
)
def test_characters_are_counted_as_people_see_them(text: str, length: int) -> None:
    assert display_length(text) == length


def test_a_limit_is_said_in_characters_with_how_many_there_are() -> None:
    assert validate_line(FAMILY * 60, 100) == FAMILY * 60

    for text, problem in (
        ("x" * 101, "at most 100 characters; this has 101"),
        (FAMILY * 90, "too many"),
        (" \u200b", "no visible characters"),
    ):
        with pytest.raises(InvalidText, match=problem):
            validate_line(text, 100)
    with pytest.raises(InvalidText, match="at most 5 characters; this has 7"):
        validate_lines("abc\ndef", 5)
    assert validate_lines(" ", 5) == ""


def test_a_long_name_is_cut_between_the_characters_that_people_see() -> None:
    assert truncate("Ann", 3) == "Ann"
    assert truncate("Annabel", 4) == "Ann…"
    assert truncate(FAMILY * 3, 2) == f"{FAMILY}…"


def test_names_are_compared_without_case_width_and_composition() -> None:
    assert comparison_key("\uff22O Stra\u00dfe e\u0301") == comparison_key("bo\u200b STRASSE \u00c9")
