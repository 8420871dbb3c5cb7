"""Text as a search compares it: case, diacritics, width and invisible characters do not count. A word is found anywhere in a text, so scripts without word breaks (Thai, Chinese, Japanese) need no dictionary."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final


#: Accents of Latin, Greek and Cyrillic, vowel points of Hebrew and Arabic, and characters that show nothing. Marks that are letters of a word (Thai, Indic, kana) stay.
_IGNORED: Final = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]"
)
#: Letters with a stroke, and ligatures, which Unicode does not decompose.
_LETTERS: Final = {
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "ħ": "h",
    "ŧ": "t",
    "ı": "i",
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
}
_LETTER: Final = re.compile(f"[{''.join(_LETTERS)}]")


def fold(text: str) -> str:
    """The text in the form in which it is compared."""
    if text.isascii():
        return text.lower()
    plain = _IGNORED.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return unicodedata.normalize("NFC", _LETTER.sub(lambda found: _LETTERS[found[0]], plain))


def search_words(text: str) -> tuple[str, ...]:
    """The folded words of a search; empty when nothing of it is visible."""
    return tuple(dict.fromkeys(fold(text).split()))


def locate(text: str, word: str) -> tuple[int, int]:
    """Where the first place of a folded word begins and ends in the text; (0, 0) without one."""
    if word not in fold(text):
        return 0, 0
    end = _first(len(text), lambda size: word in fold(text[:size]))
    start = end - _first(end, lambda size: word in fold(text[end - size : end]))
    return start, end


def excerpt(text: str, words: Sequence[str], max_length: int) -> str:
    """At most so many characters of a text, around the first word that is found, with an ellipsis where it is cut."""
    if len(text) <= max_length:
        return text
    start = max(0, min(locate(text, words[0])[0] - max_length // 3, len(text) - max_length))
    before, after = "…" if start else "", "…" if start + max_length < len(text) else ""
    return f"{before}{text[start : start + max_length]}{after}"


def _first(most: int, is_enough: Callable[[int], bool]) -> int:
    """The smallest number up to `most` that is enough, where every larger one is."""
    return bisect_left(range(most), x=True, key=is_enough)
