"""Runs files of test vectors through this implementation.

    python -m vyry.signal_protocol.vectors FILE...

A file is {`suite`, `version`, `topic`, `cases`} (docs/signal-protocol.md, "Vectors"). Every value that a case expects is compared, and every refusal by its name.
What fails is named in a line of its own: a case, or a file that none can be taken from; the others are run all the same. The last line counts.
Exit code 0: all passed. 1: something failed, or there was nothing to run.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.vector_cases import STEPPED, TOPICS
from vyry.signal_protocol.vector_values import Mismatch, compare


SUITE: Final = "vyry"
VERSION: Final = 1
#: Topics that another program runs.
OTHER_PROGRAMS: Final = {"history": "vyry.client.history.vectors"}


class InvalidVectorFile(Exception):
    """A file without usable cases."""


def run(case: object, topic: object) -> None:
    """Run one case. Raises Mismatch, and whatever a malformed case causes."""
    if not isinstance(topic, str) or topic not in TOPICS:
        raise Mismatch(f"unknown topic {topic}; known topics: {', '.join(TOPICS)}")
    if not isinstance(case, dict):
        raise Mismatch("the case is not an object")
    expected = dict(case.get("expected") or {})
    refusal = expected.pop("refusal", None) or case.get("refusal")
    if not expected and refusal is None and not (topic in STEPPED and case.get("steps")):
        raise Mismatch("the case states no expected result")
    try:
        found = TOPICS[topic](case)
    except Refusal as refused:
        if refused.name != refusal:
            raise Mismatch(f"refused as {refused.name}") from None
        return
    if refusal is not None:
        raise Mismatch(f"not refused as {refusal}")
    compare(found, expected)


def cases_of(path: Path) -> tuple[object, list[object]]:
    """Topic and cases of a file. Raises InvalidVectorFile."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        suite, version, topic, cases = (file[name] for name in ("suite", "version", "topic", "cases"))
    except OSError as problem:
        raise InvalidVectorFile(f"cannot be read ({problem.strerror})") from None
    except (ValueError, RecursionError):
        raise InvalidVectorFile("is not valid JSON") from None
    except (KeyError, TypeError):
        raise InvalidVectorFile("is not a vector file: suite, version, topic and cases are required") from None
    if (suite, version) != (SUITE, VERSION):
        raise InvalidVectorFile(f"is of suite {suite} version {version}; this is {SUITE} version {VERSION}")
    if not isinstance(cases, list) or not cases:
        raise InvalidVectorFile("has no cases")
    return topic, cases


def outcomes(path: str) -> Iterator[str | None]:
    """The outcome of each case of this file: None when it passed, else the line that says why it failed."""
    try:
        topic, cases = cases_of(Path(path))
    except InvalidVectorFile as problem:
        yield f"{path}: {problem}"
        return
    if isinstance(topic, str) and topic in OTHER_PROGRAMS:
        print_line(f"{path}: run it with python -m {OTHER_PROGRAMS[topic]}")
        return
    for number, case in enumerate(cases):
        name = case.get("name") if isinstance(case, dict) else None
        try:
            run(case, topic)
        except Exception as problem:  # noqa: BLE001  a case may raise anything; the others are run too
            yield f"{path}: {f'case {number}' if name is None else name}: {type(problem).__name__}: {problem}"
        else:
            yield None


def print_line(line: str) -> None:
    """Print one line: characters that break it, or that the terminal cannot write, are escaped."""
    shown = "".join(each if each.isprintable() else " " for each in line)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def main(paths: Sequence[str]) -> int:
    """Run all cases of these files, print those that fail, and count. Returns the exit code."""
    if not paths or any(path in ("-h", "--help") for path in paths):
        sys.stdout.write(__doc__ or "")
    if any(path in ("-h", "--help") for path in paths):
        return 0
    passed = failed = 0
    for path in paths:
        for fault in outcomes(path):
            if fault is None:
                passed += 1
            else:
                failed += 1
                print_line(fault)
    print_line(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
