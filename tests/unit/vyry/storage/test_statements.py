"""The SQL files of the stores: each statement has a name of its own, and the module beside its file runs all of them."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from vyry.storage.statements import load_statements


STORAGE = ROOT / "vyry" / "storage"


@pytest.mark.parametrize("file", sorted(STORAGE.rglob("*.sql")), ids=lambda file: str(file.relative_to(STORAGE)))
def test_a_module_runs_each_statement_of_its_file(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    names = re.findall(r"^-- name: (.*)$", text, re.MULTILINE)

    statements = load_statements(str(file.relative_to(STORAGE)))
    used = {name for name in names if f'"{name}"' in file.with_suffix(".py").read_text(encoding="utf-8")}

    assert list(statements) == names
    assert used == set(names)
    assert all(statements.values())
