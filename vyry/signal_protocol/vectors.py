"""Runs files of test vectors through this implementation.

    python -m vyry.signal_protocol.vectors FILE...

A file is {`suite`, `version`, `topic`, `cases`} (docs/signal-protocol.md, "Vectors"). Every value that a case expects is compared, and every refusal by its name.
Exit code 0: all passed. 1: something failed, or there was nothing to run. 2: a file is none, or of another suite, version or topic; the others are run all the same.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.vector_cases import TOPICS, Mismatch, compare


SUITE: Final = "vyry"
VERSION: Final = 1


class Unusable(Exception):
    """A file that no case can be taken from."""


def run(case: Mapping[str, Any], topic: str) -> None:
    """Run one case. Raises Mismatch."""
    expected = case.get("expected") or {}
    refusal = expected.get("refusal", case.get("refusal"))
    if not expected and not case.get("steps") and refusal is None:
        raise Mismatch("the case expects nothing")
    try:
        found = TOPICS[topic](case)
    except Refusal as refused:
        if refused.name != refusal:
            raise Mismatch(f"refused as {refused.name}") from None
        return
    if refusal is not None:
        raise Mismatch(f"not refused as {refusal}")
    compare(found, expected)


def cases_of(path: Path) -> tuple[str, list[Mapping[str, Any]]]:
    """Topic and cases of a file. Raises Unusable."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        suite, version, topic, cases = (file[name] for name in ("suite", "version", "topic", "cases"))
    except OSError as problem:
        raise Unusable(f"cannot be read ({problem.strerror})") from None
    except (ValueError, RecursionError):
        raise Unusable("is no JSON") from None
    except (KeyError, TypeError):
        raise Unusable("is no file of vectors: suite, version, topic and cases are needed") from None
    if (suite, version) != (SUITE, VERSION):
        raise Unusable(f"is of suite {suite} version {version}; this is {SUITE} version {VERSION}")
    if not isinstance(topic, str) or topic not in TOPICS:
        raise Unusable(f"is of topic {topic}; known are {', '.join(TOPICS)}")
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise Unusable("has no list of cases")
    return topic, cases


def main(paths: Sequence[str]) -> int:
    """Run all cases of these files, name those that fail, and count. The exit code says what became of it."""
    if not paths or any(path in ("-h", "--help") for path in paths):
        sys.stdout.write(__doc__ or "")
        return 0 if paths else 2
    passed = failed = unusable = 0
    for path in paths:
        try:
            topic, cases = cases_of(Path(path))
        except Unusable as problem:
            unusable += 1
            sys.stdout.write(f"{path}: {problem}\n")
            continue
        for case in cases:
            try:
                run(case, topic)
            except Exception as problem:  # noqa: BLE001  whatever a case runs into, the others are run too
                failed += 1
                sys.stdout.write(f"{path}: {case.get('name')}: {type(problem).__name__}: {problem}\n")
            else:
                passed += 1
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 2 if unusable else 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
