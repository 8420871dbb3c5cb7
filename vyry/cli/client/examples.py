"""Lines to learn from, as they end the help of a command."""

from typing import Final


#: The id of a message.
EXAMPLE_MESSAGE_ID: Final = "0197f6a2-5b1c-7000-8000-3f6d2a9c1e55"


def format_examples(*lines: str) -> str:
    """The end of the help: each line as it is typed."""
    return "\n\n".join(f"vyry client {line}" for line in lines)
