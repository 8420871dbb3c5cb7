"""docs/threat-model.md: every entry has a countermeasure and names tests, and every test that it names exists."""

import ast
import re
from dataclasses import dataclass, field
from functools import cache

import pytest

from tests.support.paths import ROOT


DOCUMENT = ROOT / "docs" / "threat-model.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
#: One line of the list of tests of an entry.
NAMED = re.compile(r"- `(tests/[\w/]+\.py)::(\w+)`")
#: The line between the countermeasure and the list of tests.
TESTS = "Tests:"


@dataclass(frozen=True, slots=True)
class Entry:
    """One attack: its heading, the lines of the countermeasure, and the lines of the list of tests."""

    threat: str
    countermeasure: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


def entries() -> list[Entry]:
    """The entries of the document, each below a heading of level 3 and up to the next heading."""
    found: list[Entry] = []
    for section in re.split(r"^(?=#{1,3} )", TEXT, flags=re.MULTILINE):
        heading, *lines = section.splitlines() or [""]
        if heading.startswith("### "):
            written = [line for line in lines if line.strip()]
            end = written.index(TESTS) if TESTS in written else len(written)
            found.append(Entry(heading.removeprefix("### "), written[:end], written[end + 1 :]))
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """The tests of a file, those of Hypothesis machines among them."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(functions | assigned)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.threat)
def test_every_threat_has_a_countermeasure_and_tests_that_are_there(entry: Entry) -> None:
    named = [NAMED.fullmatch(line) for line in entry.tests]

    missing = [found[0] for found in named if found and found[2] not in names_in(found[1])]

    assert (bool(entry.countermeasure), bool(named), all(named)) == (True, True, True)
    assert missing == []


def test_no_threat_stands_there_twice() -> None:
    threats = [entry.threat for entry in entries()]

    assert len(threats) > 100
    assert len(threats) == len(set(threats))


def test_what_is_named_beside_the_lists_is_a_test_too() -> None:
    named = re.findall(r"tests/[\w/]+\.py::\w+", TEXT)

    assert len(named) == sum(len(entry.tests) for entry in entries())
