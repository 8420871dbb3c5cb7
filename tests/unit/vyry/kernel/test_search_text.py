"""Texts as a search compares them: what people type finds what others wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.kernel.search_text import excerpt, fold, locate, search_words


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("GARDEN", "In the Garden, then"),
        ("strasse", "An der Straße"),
        ("uber", "Über uns"),
        ("Ünlü", "unlu"),
        ("cafe", "Cafe\u0301 au lait"),
        ("istanbul", "İstanbul"),
        ("lodz", "Łódź"),
        ("smorrebrod", "Smørrebrød"),
        ("βιβλιο", "Βιβλίο"),
        ("елка", "ёлка"),
        ("سلام", "سَلَام"),
        ("שלום", "שָׁלוֹם"),
        ("ประชุม", "พรุ่งนี้ประชุมตอนเช้า"),
        ("กิน", "ไปกิน\u200bข้าวกัน"),
        ("会議", "明日の会議は十時です"),
        ("パン", "ﾊﾟﾝを買う"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8어"),
        ("abc123", "ＡＢＣ１２３"),
    ],
)
def test_a_word_is_found_whatever_its_case_its_accents_and_its_place(word: str, text: str) -> None:
    assert search_words(word)[0] in fold(text)


@pytest.mark.parametrize(("word", "text"), [("มา", "มี"), ("が", "か"), ("ไม่", "ไม้"), ("hat", "cap")])
def test_marks_that_make_another_word_are_no_accents(word: str, text: str) -> None:
    assert search_words(word)[0] not in fold(text)


def test_a_search_has_each_word_once_and_none_of_what_is_invisible() -> None:
    assert search_words(" Green  green\tGARDEN \u200b ") == ("green", "garden")
    assert search_words(" \u200b\u2060 ") == ()


def test_an_excerpt_of_a_long_text_shows_the_word() -> None:
    text = "x" * 900 + " Straße " + "y" * 900

    shown = excerpt(text, ("strasse",), 100)

    assert "Straße" in shown
    assert (shown[0], shown[-1], len(shown)) == ("…", "…", 102)
    assert excerpt("short", ("absent",), 100) == "short"


@given(st.text(max_size=40), st.text(min_size=1, max_size=5), st.text(max_size=40))
def test_folding_again_and_locating_never_fail(before: str, word: str, after: str) -> None:
    text = before + word + after
    for each in search_words(word):
        start, end = locate(text, each)
        assert 0 <= start <= end <= len(text)
    assert len(excerpt(text, search_words(word) or ("x",), 10)) <= 12 or len(text) <= 10
