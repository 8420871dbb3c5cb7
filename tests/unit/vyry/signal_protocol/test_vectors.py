"""The published vectors, unchanged, further ones, and what the runner reports about mismatches and invalid files."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from scripts.make_vectors import make
from tests.support.paths import ROOT
from vyry.signal_protocol.session_cases import expected_in
from vyry.signal_protocol.vector_values import Mismatch
from vyry.signal_protocol.vectors import main, run


FOLDER = ROOT / "tests" / "vectors"
#: vyry/client/history/vectors.py runs the others.
FILES = sorted(set(FOLDER.glob("*.json")) - {FOLDER / "history.json"})
CASES = [
    (json.loads(file.read_text())["topic"], case) for file in FILES for case in json.loads(file.read_text())["cases"]
]
#: Vectors only in the further files: of three topics, and of copied states.
EDGES = [
    (topic, case)
    for topic in ("signature", "agreement", "sessions", "ratchet", "sender-keys")
    for case in json.loads((FOLDER / "further" / f"{topic}.json").read_text())["cases"]
    if topic in ("signature", "agreement", "sessions") or case["name"] == "a copied state"
]


@pytest.mark.parametrize(
    ("topic", "case"), [*CASES, *EDGES], ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_a_published_case_comes_out_as_published(topic: str, case: dict[str, Any]) -> None:
    run(case, topic)


def test_the_command_counts_what_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file) for file in FILES]) == 0
    assert capsys.readouterr().out == f"{len(CASES)} passed, 0 failed\n"


def test_the_command_names_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = json.loads((FOLDER / "safety-number.json").read_text())
    file["cases"][1]["expected"]["safetyNumber"] = "0" * 60
    (tmp_path / "wrong.json").write_text(json.dumps(file))

    assert main([str(tmp_path / "wrong.json")]) == 1

    assert "safetyNumber differs" in (said := capsys.readouterr().out)
    assert said.endswith(f"{len(file['cases']) - 1} passed, 1 failed\n")


def vectors(*words: str) -> subprocess.CompletedProcess[str]:
    """One run of the command, in its own process."""
    command = [sys.executable, "-m", "vyry.signal_protocol.vectors", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_the_command_ends_with_0_when_all_passed_and_with_1_when_a_case_or_a_file_failed(tmp_path: Path) -> None:
    good, bad = str(FOLDER / "linking.json"), tmp_path / "bad.json"
    bad.write_text((FOLDER / "linking.json").read_text().replace('"compareCode": "', '"compareCode": "x'))

    assert (vectors(good).returncode, vectors(str(bad)).returncode, vectors().returncode) == (0, 1, 1)
    both = vectors(good, str(tmp_path / "nowhere.json"), str(bad))
    assert both.returncode == 1
    assert both.stdout.splitlines()[0] == f"{tmp_path}/nowhere.json: cannot be read (No such file or directory)"
    assert both.stdout.splitlines()[-1] == "5 passed, 4 failed"
    assert both.stderr == ""


GOOD: dict[str, Any] = json.loads((FOLDER / "safety-number.json").read_text())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "is not a vector file"),
        ("{}", "is not a vector file"),
        (json.dumps({**GOOD, "suite": "libsignal"}), "is of suite libsignal version 1; this is vyry version 1"),
        (json.dumps({**GOOD, "version": 2}), "is of suite vyry version 2"),
        (json.dumps({**GOOD, "cases": {}}), "has no cases"),
        (json.dumps({**GOOD, "cases": []}), "has no cases"),
        (json.dumps({**GOOD, "cases": ["x"]}), "case 0: Mismatch: the case is not an object"),
        (
            json.dumps({**GOOD, "topic": "tarot", "cases": [{"name": "the sun"}]}),
            "the sun: Mismatch: unknown topic tarot",
        ),
        (json.dumps({**GOOD, "topic": ["pqxdh"], "cases": [{}]}), "case 0: Mismatch: unknown topic ['pqxdh']"),
        (json.dumps({**GOOD, "cases": [{"name": "two\nlines \ud800", "input": 7}]}), "two lines  : Mismatch"),
    ],
)
def test_a_file_that_is_none_of_this_suite_is_refused_in_a_line(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.json").write_text(text)

    assert main([str(tmp_path / "odd.json")]) == 1

    line, count = capsys.readouterr().out.splitlines()
    assert said in line
    assert count == "0 passed, 1 failed"


@pytest.mark.parametrize(
    "topic",
    ["pqxdh", "ratchet", "sessions", "sender-keys", "attachment", "linking", "safety-number", "signature", "agreement"],
)
@pytest.mark.parametrize("case", [{}, {"input": {}}, {"input": None, "steps": None}, {"steps": [{"do": "dance"}]}])
def test_a_case_of_another_shape_fails_and_ends_nothing(
    topic: str, case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.json").write_text(json.dumps({**GOOD, "topic": topic, "cases": [case, {}]}))

    assert main([str(tmp_path / "odd.json")]) == 1
    assert capsys.readouterr().out.endswith("0 passed, 2 failed\n")


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_vectors_of_any_seed_come_out_as_they_were_made(seed: int, tmp_path: Path) -> None:
    make(tmp_path, seed)

    assert main([str(file) for file in tmp_path.iterdir()]) == 0


def test_the_further_vectors_are_those_of_the_first_seed(tmp_path: Path) -> None:
    make(tmp_path, 1)

    published = {file.name: file.read_bytes() for file in (FOLDER / "further").iterdir()}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == published


def test_what_a_step_expects_is_never_passed_over() -> None:
    topic, case = next((topic, case) for topic, case in CASES if topic == "ratchet")
    opening = next(number for number, step in enumerate(case["steps"]) if step["do"] == "open")
    for odd in ({"refusal": "BadMessage"}, {"plaintext": "AAAA"}, {"aesKey": "AAAA"}):
        other = deepcopy(case)
        other["steps"][opening].update(odd)
        with pytest.raises(Mismatch):
            run(other, topic)


def flipped(text: str) -> str:
    """The text with another character in its middle."""
    at = len(text) // 2
    return text[:at] + ("B" if text[at] in "Aa" else "A") + text[at + 1 :]


def different_value(value: object) -> object:
    """Another value of the same kind."""
    if isinstance(value, str):
        return flipped(value) if value else "AAAA"
    return value + 1 if isinstance(value, int) else "AAAA"


def value_paths(value: object, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """The paths of the single values in it."""
    if isinstance(value, dict | list) and value:
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from value_paths(inner, *path, name)
    else:
        yield path


def changed(case: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """The case with another value at this path."""
    other = deepcopy(case)
    place: Any = other
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = different_value(place[path[-1]])
    return other


def expectations(case: dict[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """The paths of expected results; the number of a message is only its name, and what is opened is given."""
    yield from value_paths(case.get("expected"), "expected")
    for number, step in enumerate(case.get("steps", [])):
        given = ("message", "content") if step["do"] == "open" else ("message",)
        names = expected_in(step) if "devices" in case["input"] else [name for name in step if name not in given]
        for name in names:
            yield from value_paths(step[name], "steps", number, name)


@pytest.mark.parametrize(
    ("topic", "case"), [*CASES, *EDGES], ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_no_expected_value_passes_with_one_character_changed(topic: str, case: dict[str, Any]) -> None:
    passed = []
    for path in expectations(case):
        with suppress(Exception):
            run(changed(case, path), topic)
            passed.append(path)

    assert passed == []


def test_a_step_of_a_session_says_all_that_comes_out_of_it() -> None:
    topic, case = next((topic, case) for topic, case in EDGES if topic == "sessions")
    for number, step in enumerate(case["steps"]):
        for name in {"active", "archived", "plaintext"}.intersection(expected_in(step)):
            other = deepcopy(case)
            del other["steps"][number][name]
            with pytest.raises(Mismatch, match=f"step {number}: {name} differs"):
                run(other, topic)


def test_a_refusal_that_does_not_come_is_a_mismatch() -> None:
    case = next(case for known, case in CASES if known == "linking")

    with pytest.raises(Mismatch, match="not refused as LinkMismatch"):
        run({**case, "expected": {"refusal": "LinkMismatch"}}, "linking")
