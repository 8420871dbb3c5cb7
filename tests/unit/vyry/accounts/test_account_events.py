"""The documented account events are those of the code."""

import ast
import re
from pathlib import Path
from typing import get_args

from tests.support.paths import ROOT
from vyry.accounts.events import EventName


TEXT = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")


def words(path: Path) -> set[str]:
    """All string literals of this module."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_event_is_documented_and_every_documented_event_exists() -> None:
    table = TEXT.partition("### Account events")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"name"} == set(get_args(EventName))


def test_every_event_is_written_somewhere() -> None:
    said = set().union(*(words(path) for path in (ROOT / "vyry").rglob("*.py") if path.name != "events.py"))

    assert set(get_args(EventName)) - said == set()
