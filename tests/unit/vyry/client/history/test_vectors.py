"""The vectors of archives: those in the tree are those of the generator, they pass, and a false one fails."""

import json
from pathlib import Path

import pytest

from scripts.make_history_vectors import cases, main
from tests.support.paths import ROOT
from vyry.client.history import vectors


FILE = ROOT / "tests" / "vectors" / "history.json"


def test_the_vectors_are_those_of_the_generator(tmp_path: Path) -> None:
    main(tmp_path / "history.json")

    assert (tmp_path / "history.json").read_bytes() == FILE.read_bytes()


def test_the_vectors_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert vectors.main([str(FILE)]) == 0
    assert f"{len(cases())} passed, 0 failed" in capsys.readouterr().out


def test_a_false_case_and_a_file_without_cases_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = json.loads(FILE.read_bytes())
    for case in file["cases"]:
        case["refusal"] = "other"
    false = tmp_path / "false.json"
    false.write_text(json.dumps(file))
    other = ROOT / "tests" / "vectors" / "ratchet.json"

    assert vectors.main([str(false)]) == 1
    assert vectors.main([str(other)]) == 1
    assert vectors.main([str(tmp_path / "nowhere.json")]) == 1
    assert vectors.main([]) == 1
    assert f"0 passed, {len(file['cases'])} failed" in capsys.readouterr().out
