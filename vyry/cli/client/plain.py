"""What others wrote shall not steer the terminal, nor turn round what stands beside it."""

from typing import Final


#: Shown as a sign: all controls but tab and line feed, line and paragraph separators, and what changes the direction of text (Unicode UAX #9).
_STEERING: Final = dict.fromkeys(
    [
        *(*range(9), *range(11, 32), *range(127, 160)),
        *(0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
    ],
    "\ufffd",
)


def plain(text: str) -> str:
    """The same text, harmless on a terminal."""
    return text.translate(_STEERING)
