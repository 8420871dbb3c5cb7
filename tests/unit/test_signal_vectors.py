"""The published vectors, unchanged, and that the runner tells what does not fit."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from vyry.signal_protocol.vectors import Mismatch, main, run


FOLDER = Path(__file__).parents[1] / "vectors"
FILES = sorted(FOLDER.glob("*.json"))
CASES = [
    (json.loads(file.read_text())["topic"], case) for file in FILES for case in json.loads(file.read_text())["cases"]
]


@pytest.mark.parametrize(("topic", "case"), CASES, ids=lambda value: value if isinstance(value, str) else value["name"])
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


def changed(case: dict[str, Any], *path: str | int) -> dict[str, Any]:
    """The case with one value of another first character."""
    other = deepcopy(case)
    place: Any = other
    for name in path[:-1]:
        place = place[name]
    text = place[path[-1]]
    place[path[-1]] = ("B" if text[0] == "A" else "A") + text[1:]
    return other


@pytest.mark.parametrize("topic", ["pqxdh", "attachment", "linking", "safety-number"])
def test_every_expected_value_is_compared(topic: str) -> None:
    case = next(case for known, case in CASES if known == topic)
    texts = [name for name, value in case["expected"].items() if isinstance(value, str)]

    for name in texts:
        with pytest.raises(Mismatch):
            run(changed(case, "expected", name), topic)
    assert len(texts) > 2


@pytest.mark.parametrize("name", ["messageKey", "aesKey", "nonce", "content"])
@pytest.mark.parametrize("topic", ["ratchet", "sender-keys"])
def test_every_value_of_a_step_is_compared(topic: str, name: str) -> None:
    case = next(case for known, case in CASES if known == topic)

    with pytest.raises(Mismatch):
        run(changed(case, "steps", 0, name), topic)


def test_a_refusal_that_does_not_come_is_a_mismatch() -> None:
    case = next(case for known, case in CASES if known == "linking")

    with pytest.raises(Mismatch, match="not refused as LinkMismatch"):
        run({**case, "expected": {"refusal": "LinkMismatch"}}, "linking")
