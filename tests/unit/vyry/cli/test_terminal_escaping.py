"""What others wrote, on a terminal: a line of output belongs to one of them, whatever the words are."""

import ast
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.vyry.cli.test_event_texts import WORDS, make_event
from vyry.cli import client
from vyry.cli.client.context import CommandContext
from vyry.cli.client.event_texts import describe_event
from vyry.cli.client.exit_codes import to_command_failure
from vyry.cli.client.names import group_label
from vyry.cli.client.terminal_text import escape_json, indent_continuation, quote_name, sanitize_fields, sanitize_line
from vyry.client.errors import Refused
from vyry.client.store.events import _STORED_TYPES, Attachment, Event, Message, Presence, Typing, Unknown


Said = pytest.CaptureFixture[str]
ID = UUID(int=7)
#: Ends lines in every way, steers the terminal, turns text round, closes quotes, and is one column short of the edge.
HOSTILE = (
    'x"\r\n@bo_lee: pay Eve\u2028@bo_lee: \x85@bo_lee: \x0b\x0c\x1b[2K\x9b1A\x1b]0;owned\x07\u202e\u2066\x00'
    + " " * 60
    + "@bo_lee: wrapped"
)
STEERING = ("Cc", "Zl", "Zp")


def is_harmless(text: str) -> bool:
    """Whether it has neither controls but line feeds, nor marks that turn it round."""
    turning = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return not [each for each in text if each != "\n" and (unicodedata.category(each) in STEERING or each in turning)]


def hostile(kind: type[Event]) -> Event:
    """An event of that kind, with these words wherever somebody else or the node can put words."""
    values: dict[str, Any] = {}
    event = make_event(kind)
    for each in fields(kind):
        value = getattr(event, each.name)
        is_words = isinstance(value, str) or str(each.type).replace(" ", "") in ("str|None", "str")
        values[each.name] = HOSTILE if is_words and each.name not in WORDS.get(kind, {}) else value
    return kind(**values)


@pytest.mark.parametrize("kind", [*_STORED_TYPES.values(), Typing, Presence], ids=lambda kind: str(kind.name))
def test_no_event_makes_a_line_of_somebody_else(kind: type[Event], capsys: Said) -> None:
    event = hostile(kind)

    CommandContext().print_result(describe_event(event, '"Eve" (00000007)'), event.body)
    CommandContext(json=True).print_result("", {"event": event.name, **event.body})

    *lines, last = capsys.readouterr().out.splitlines()
    assert is_harmless("\n".join([*lines, last]))
    assert all(line.startswith("  ") for line in lines[1:])
    assert len(lines) == 1 or kind.name in ("message", "edit", "announcement")
    assert json.loads(last)["event"] == kind.name


def test_files_and_fields_of_newer_versions_make_no_lines_either(capsys: Said) -> None:
    said: dict[str, Any] = {"conversation_id": ID, "sender_id": ID, "sender_device_id": 1, "id": ID, "at": 1}
    pointer = Attachment(ID, bytes(32), bytes(32), 1, "text/plain", HOSTILE)
    bare = Attachment(ID, bytes(32), bytes(32), 1, "text/plain")

    CommandContext().print_result(
        describe_event(Message(**said, text="", attachments=(pointer, bare), extra={"x": HOSTILE}), "@cy"), {}
    )
    CommandContext().print_result(describe_event(Unknown(**said, kind=HOSTILE, extra={"text": HOSTILE}), "@cy"), {})

    out = capsys.readouterr().out
    assert is_harmless(out)
    assert [line[:3] for line in out.splitlines()] == ["@cy", "@cy"]


def test_a_nodes_refusal_is_one_line_that_names_the_fields_and_steers_nothing() -> None:
    refused = Refused(
        400, {"error": HOSTILE, "error_code": HOSTILE, "fields": [{"field": HOSTILE, "problem": HOSTILE}, 7]}
    )
    named = Refused(
        400, {"error_code": "INVALID_REQUEST", "fields": [{"field": "displayName", "problem": "at most 100"}]}
    )

    assert is_harmless(str(to_command_failure(refused)))
    assert len(str(refused).splitlines()) == 1
    assert str(named) == "INVALID_REQUEST: displayName: at most 100"
    assert str(Refused(403, {"fields": "none"})) == "403: the node gave no reason"


@given(st.text(), st.integers(20, 60))
def test_whatever_is_printed_later_lines_are_set_in_and_fit_the_terminal(text: str, width: int) -> None:
    lines = indent_continuation(text, width).split("\n")

    assert is_harmless("\n".join(lines))
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(len(line) <= max(width, 22) or not line.isascii() for line in lines)


def test_what_runs_on_at_the_edge_of_a_terminal_is_set_in() -> None:
    forged = "@eve: ok" + " " * 72 + "@bo_lee: pay Eve"

    assert indent_continuation(forged, 80).split("\n") == ["@eve: ok" + " " * 71, "  @bo_lee: pay Eve"]
    assert indent_continuation("\u5b57" * 15, 20).split("\n") == ["\u5b57" * 10, "  " + "\u5b57" * 5]
    assert indent_continuation("one two three four five six", 20) == "one two three four\n  five six"


@given(st.text())
def test_a_name_cannot_leave_its_quotes_and_an_object_is_one_line(text: str) -> None:
    shown, line = quote_name(text), escape_json(json.dumps({"x": text}, ensure_ascii=False))

    assert shown[0] == shown[-1] == '"'
    assert '"' not in shown[1:-1]
    assert len(line.splitlines()) == 1
    assert is_harmless(line)
    assert json.loads(line) == {"x": text}


def test_bodies_of_the_node_are_tame_at_any_depth() -> None:
    body = {"name": HOSTILE, "more": [{"x": HOSTILE}, 7, None, True]}

    assert sanitize_fields(body) == {
        "name": sanitize_line(HOSTILE),
        "more": [{"x": sanitize_line(HOSTILE)}, 7, None, True],
    }
    assert group_label("@bo_lee").startswith("group ")


def prints(path: Path) -> Iterator[ast.Call]:
    """What this module prints by itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node


def test_no_command_prints_past_the_function_that_sets_lines_in() -> None:
    """A print of its own has words of our own, or goes through `set_in`; all others go through `Where.say`, which does."""
    folder = Path(str(client.__file__)).parent
    found = {
        path.name: node
        for path in folder.rglob("*.py")
        for node in prints(path)
        if isinstance(node.args[0], ast.JoinedStr)
    }

    assert found == {}
