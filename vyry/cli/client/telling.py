"""Events in words."""

from collections.abc import Callable, Mapping
from typing import Any, Final


Body = Mapping[str, Any]


def line(name: str, body: Body) -> str:
    """One line for people. An event that this version has no words for is named."""
    words = _WORDS.get(name)
    return words(body) if words else f"({name})"


_WORDS: Final[Mapping[str, Callable[[Body], str]]] = {
    "message": lambda body: f"{body['senderId']}: {body.get('text') or '(' + body['kind'] + ')'}",
    "unreadable": lambda body: f"A message of {body['senderId']} could not be read ({body['reason']}).",
    "lost": lambda body: f"{body['count']} messages were lost on the node ({body['reason']}).",
    "notSent": lambda body: f"A message could not be sent ({body['reason']}).",
    "notice": lambda body: f"Notice: {body['name']}",
}
