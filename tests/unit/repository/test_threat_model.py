"""docs/threat-model.md keeps its word: each row names a countermeasure and tests, and every test it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of each row of each table, headings aside."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] != "Threat" and not row[0].startswith("---")]


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


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_threat_has_a_countermeasure_and_tests_that_are_there(row: list[str]) -> None:
    threat, countermeasure, named = row

    missing = [f"{path}::{name}" for path, name in NAMED.findall(named) if name not in names_in(path)]

    assert (bool(threat), bool(countermeasure), bool(NAMED.search(named))) == (True, True, True)
    assert missing == []


def test_no_threat_stands_there_twice() -> None:
    threats = [row[0] for row in rows()]

    assert len(threats) == len(set(threats))


def test_what_is_named_beside_the_tables_is_a_test_too() -> None:
    named = re.findall(r"tests/[\w/]+\.py::\w+", DOCUMENT.read_text(encoding="utf-8"))

    assert len(named) == sum(len(NAMED.findall(row[2])) for row in rows())
