"""Cleans display text that users choose (names, titles, descriptions). The node and its clients share it.

The result is in Unicode NFC, stays on its line, does not change the direction of text around it, has no invisible characters, and is not invisible itself.
Cleaning a result again changes nothing. Joiners stay where scripts and emoji need them.
"""

import re
import unicodedata
from typing import Final


#: Shown as nothing or as a blank, though Unicode counts them among letters, marks and symbols: fillers, a braille cell without dots, joiners of marks.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159")
_ZWJ: Final = "\u200d"
#: They are part of a word or an emoji, where they stand between such characters.
JOINERS: Final = ("\u200c", _ZWJ)
_VIRAMA: Final = 9
#: What joiners stand between: letters without case, symbols (emoji), skin tones.
_JOINABLE_KINDS: Final = ("Lo", "So", "Sk")
#: The flags of England, Scotland and others are a black flag and letters that are no text of their own; without the flag those letters are hidden text.
_TAGS: Final = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f)|[\U000e0000-\U000e0fff]"
)
_FIRST_TAG, _LAST_TAG = "\U000e0030", "\U000e007f"
_MODIFIERS: Final = range(0x1F3FB, 0x1F400)
_INDICATORS: Final = range(0x1F1E6, 0x1F200)
#: More marks on one letter run over the lines above and below.
_MAX_MARKS: Final = 8
#: One character as people see it may be several of Unicode's: so many on average.
CODEPOINTS_PER_CHARACTER: Final = 4
_PART_KINDS: Final = ("Mn", "Me", "Mc", "Cf")


class InvalidText(ValueError):
    """A text cannot be used as display text; the error says why, without repeating it."""


def clean_line(text: str) -> str:
    """One line: trimmed, with single blanks. Empty when nothing of it is visible."""
    return " ".join(_strip_invisible(text).split())


def clean_lines(text: str) -> str:
    """The same for a text of several lines: each is cleaned, with at most one empty line between two."""
    lines = "\n".join(clean_line(each) for each in re.split(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", text))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n")


def validate_line(text: str, max_length: int, codepoints_per_character: int = CODEPOINTS_PER_CHARACTER) -> str:
    """`clean_line`. Raises InvalidText when it is invisible, or longer than `max_length` visible characters of `codepoints_per_character` codepoints on average."""
    found = clean_line(text)
    if not found:
        raise InvalidText("has no visible characters")
    return _check_length(found, max_length, codepoints_per_character)


def validate_lines(text: str, max_length: int, codepoints_per_character: int = CODEPOINTS_PER_CHARACTER) -> str:
    """`clean_lines`; it may be empty. Raises InvalidText as `validate_line` does for the length."""
    return _check_length(clean_lines(text), max_length, codepoints_per_character)


def display_length(text: str) -> int:
    """The number of visible characters: an accent, a skin tone, a joined emoji or half a flag does not count."""
    return len(_character_starts(text))


def truncate(text: str, max_length: int) -> str:
    """At most `max_length` visible characters of a cleaned text, with an ellipsis when it was cut."""
    starts = _character_starts(text[: max_length * CODEPOINTS_PER_CHARACTER + 1])
    if len(starts) <= max_length and len(text) <= max_length * CODEPOINTS_PER_CHARACTER:
        return text
    return f"{text[: starts[:max_length][-1]].rstrip()}…"


def comparison_key(text: str) -> str:
    """Equal for texts that people take for the same: case, width and composition do not count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean_line(text)).casefold())


def _check_length(found: str, most: int, parts: int) -> str:
    length = display_length(found)
    if length > most:
        raise InvalidText(f"must be at most {most:,} characters; this has {length:,}")
    if len(found) > most * parts:
        raise InvalidText(f"must be at most {most:,} characters; the accents and emoji in it are made of too many")
    return found


def _character_starts(text: str) -> list[int]:
    """The start of each visible character."""
    starts: list[int] = []
    before, is_half_flag = "", False
    for index, each in enumerate(text):
        is_indicator = ord(each) in _INDICATORS
        is_part = unicodedata.category(each) in _PART_KINDS or ord(each) in _MODIFIERS
        is_joined = before == _ZWJ and unicodedata.category(each) == "So"
        if not (is_part or is_joined or (is_indicator and is_half_flag)):
            starts.append(index)
        before, is_half_flag = each, is_indicator and not is_half_flag
    return starts


def _strip_invisible(text: str) -> str:
    """The text without invisible and control characters; line ends, controls and blanks of any width become a blank."""
    kept = ""
    #: The newest that is no mark, and how many marks it has.
    base, marks = " ", 0
    found = _TAGS.sub(lambda tag: tag[1] or "", unicodedata.normalize("NFC", text))
    for index, each in enumerate(found):
        kind = unicodedata.category(each)
        if kind[0] == "M":
            marks += 1
            kept += each if base != " " and marks <= _MAX_MARKS and each not in _BLANK else ""
        elif each in JOINERS:
            kept += each if _joins(kept[-1:], base, found[index + 1 : index + 2]) else ""
        elif kind[0] == "Z" or kind == "Cc":
            kept, base, marks = f"{kept} ", " ", 0
        elif _is_shown(each, kind):
            kept, base, marks = kept + each, each, 0
    return unicodedata.normalize("NFC", kept)


def _is_shown(each: str, kind: str) -> bool:
    if _FIRST_TAG <= each <= _LAST_TAG:
        return True
    return kind not in ("Cf", "Cs") and each not in _BLANK and ord(each) & 0xFFFE != 0xFFFE


def _joins(before: str, base: str, after: str) -> bool:
    """Whether a joiner stands where scripts or emoji need one: between letters of scripts without case, between emoji, or after a virama."""
    if unicodedata.combining(before or " ") == _VIRAMA:
        return True
    is_between = (
        unicodedata.category(base) in _JOINABLE_KINDS and after != "" and unicodedata.category(after) in _JOINABLE_KINDS
    )
    return is_between and before not in JOINERS
