"""Sanitizes text of other users for a terminal: no control characters, no change of direction, nothing that imitates another line, prompt or name.

Two rules ensure that. A line of output goes through `indent_continuation`, which indents what follows a line end. Text of other users inside a line goes
through `sanitize_line` (one short line) or `quote_name` (names that any user may choose).
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vyry.kernel.display_text import clean_line, truncate


#: Replaced: all controls but line feed, line and paragraph separators, and characters that change the direction of text (Unicode UAX #9). A tab becomes spaces.
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
#: Escaped in JSON: controls of terminals, and line ends for some parsers.
_JSON_ESCAPES: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(127, 160),
        *(0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
    )
}
_INDENT: Final = "  "
#: Characters of a name, and of other text, within a line.
MAX_NAME: Final = 40
_MAX_LINE: Final = 200
_QUOTES: Final = dict.fromkeys(map(ord, '"\u201c\u201d\u201e\u201f\u2033\u2036\u301d\u301e\u301f\uff02\u02ba'), "'")


def sanitize(text: str) -> str:
    """The text without control characters; it may have several lines."""
    return text.translate(_CONTROL_REPLACEMENTS)


def indent_continuation(text: str, width: int | None = None) -> str:
    """One line of output: what follows a line end in it is indented. With a width also what would wrap at the edge of the terminal."""
    lines = sanitize(text).split("\n")
    if width is not None:
        lines = [part for number, line in enumerate(lines) for part in _wrap(line, width - (number > 0) * len(_INDENT))]
    return f"\n{_INDENT}".join(lines)


def sanitize_line(value: object, most: int = _MAX_LINE) -> str:
    """Text of another user or of the node, within a line."""
    return truncate(clean_line(str(value)), most)


def quote_name(name: object, most: int = MAX_NAME) -> str:
    """A name chosen by a user, in quotes that it cannot close: it looks like no username."""
    return f'"{sanitize_line(name, most).translate(_QUOTES)}"'


def sanitize_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body from the node or another device with every text reduced to one line."""
    return {name: _sanitize_value(value) for name, value in body.items()}


def escape_json(line: str) -> str:
    """The JSON with controls escaped: one line for every parser."""
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
    """The line in pieces that fit the width, broken at a space where there is one; `indent_continuation` indents the later ones."""
    columns = max(width, 20)
    while (end := _fitting_length(line, columns)) < len(line):
        blank = line.rfind(" ", 1, end + 1)
        cut = blank if blank > 0 and line[:blank].strip() else end
        yield line[:cut]
        line = line[cut:].lstrip(" ")
        columns = max(width - len(_INDENT), 20)
    yield line


def _fitting_length(line: str, width: int) -> int:
    """How many characters fit into this many columns."""
    used = 0
    for position, each in enumerate(line):
        kind = unicodedata.category(each)
        wide = unicodedata.east_asian_width(each) in "WF"
        used += 0 if kind in ("Mn", "Me", "Cf") else 1 + wide
        if used > width:
            return position
    return len(line)
