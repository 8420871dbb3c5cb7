"""What others wrote, on a terminal: it steers nothing, turns nothing round, and never looks like a line, a prompt or a name of somebody else.

Two rules hold that. A line of output is one text given to `set_in`: whatever line ends are in it, what follows them is indented. And words of others inside
of a line go through `word` (one line, short) or `quoted` (for names that anybody may choose).
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vyry.kernel.display_text import clean_line, truncate


#: Shown as a sign: all controls but line feed, line and paragraph separators, and what changes the direction of text (Unicode UAX #9). A tab is blanks.
_CONTROL_REPLACEMENTS: Final = {
    **dict.fromkeys(
        [
            *(*range(9), *range(11, 32), *range(127, 160)),
            *(0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
        ],
        "\ufffd",
    ),
    9: "    ",
}
#: In JSON these stand as they are: they steer terminals, or end lines for some who read them.
_JSON_ESCAPES: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(127, 160),
        *(0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
    )
}
_INDENT: Final = "  "
#: So much of a name, and so much of other words, is shown within a line.
MAX_NAME: Final = 40
_MAX_LINE: Final = 200
_QUOTES: Final = dict.fromkeys(map(ord, '"\u201c\u201d\u201e\u201f\u2033\u2036\u301d\u301e\u301f\uff02\u02ba'), "'")


def sanitize(text: str) -> str:
    """The same text, harmless on a terminal; it may have several lines."""
    return text.translate(_CONTROL_REPLACEMENTS)


def indent_continuation(text: str, width: int | None = None) -> str:
    """One line of output: what follows a line end in it is indented. With a width, too, what would run on at the edge of a terminal."""
    lines = sanitize(text).split("\n")
    if width is not None:
        lines = [part for number, line in enumerate(lines) for part in _wrap(line, width - (number > 0) * len(_INDENT))]
    return f"\n{_INDENT}".join(lines)


def sanitize_line(value: object, most: int = _MAX_LINE) -> str:
    """Words of others, or of the node, within a line."""
    return truncate(clean_line(str(value)), most)


def quote_name(name: object, most: int = MAX_NAME) -> str:
    """A name that somebody chose: in quotes that it cannot close, so that it is no username and nothing else that stands beside it."""
    return f'"{sanitize_line(name, most).translate(_QUOTES)}"'


def sanitize_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body of the node or of another device, to be put into words: every text in it is fit for the middle of a line."""
    return {name: _sanitize_value(value) for name, value in body.items()}


def escape_json(line: str) -> str:
    """The same JSON on one line for everybody, and harmless on a terminal."""
    return line.translate(_JSON_ESCAPES)


def _sanitize_value(value: object) -> Any:
    match value:
        case str():
            return sanitize_line(value)
        case Mapping():
            return sanitize_fields(value)
        case list() | tuple():
            return [_sanitize_value(each) for each in value]
        case _:
            return value


def _wrap(line: str, width: int) -> Iterator[str]:
    """The line in pieces that fit beside each other, later ones indented by `set_in`; broken at a blank where there is one."""
    room = max(width, 20)
    while (end := _fitting_length(line, room)) < len(line):
        blank = line.rfind(" ", 1, end + 1)
        cut = blank if blank > 0 and line[:blank].strip() else end
        yield line[:cut]
        line = line[cut:].lstrip(" ")
        room = max(width - len(_INDENT), 20)
    yield line


def _fitting_length(line: str, width: int) -> int:
    """How many characters of it fit into so many columns."""
    used = 0
    for place, each in enumerate(line):
        kind = unicodedata.category(each)
        wide = unicodedata.east_asian_width(each) in "WF"
        used += 0 if kind in ("Mn", "Me", "Cf") else 1 + wide
        if used > width:
            return place
    return len(line)
