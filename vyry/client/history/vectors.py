"""Runs files of test vectors of archives through this implementation.

    python -m vyry.client.history.vectors FILE...

A file is {`suite`, `version`, `topic`: history, `cases`} (docs/history.md, "Vectors"). A case has `key` and `archive` in base64, and either `frames`, what the archive holds
as JSON, or `refusal`, why it is refused. A case of a recovery key has `recoveryKey`, its text, and `key` or `refusal`.
What fails is named in a line of its own. The last line counts. Exit code 0: all passed. 1: something failed, or there was nothing to run.
"""

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vyry.client.history.errors import ArchiveRefused
from vyry.client.history.reading import ArchiveReader
from vyry.client.history.sealing import read_recovery_key
from vyry.kernel.base64_text import decode_base64
from vyry.signal_protocol.vector_values import Mismatch, compare
from vyry.signal_protocol.vectors import InvalidVectorFile, cases_of, print_line


TOPIC: Final = "history"


def run(case: object) -> None:
    """Run one case. Raises Mismatch, and whatever a malformed case causes."""
    if not isinstance(case, dict):
        raise Mismatch("the case is not an object")
    refusal = case.get("refusal")
    try:
        found = _recovery_key(case) if "recoveryKey" in case else _archive(case)
    except ArchiveRefused as refused:
        if refused.reason != refusal:
            raise Mismatch(f"refused as {refused.reason}") from None
        return
    if refusal is not None:
        raise Mismatch(f"not refused as {refusal}")
    compare(found, {name: case[name] for name in found})


def outcomes(path: str) -> Iterator[str | None]:
    """The outcome of each case of this file: None when it passed, else the line that says why it failed."""
    try:
        topic, cases = cases_of(Path(path))
    except InvalidVectorFile as problem:
        yield f"{path}: {problem}"
        return
    if topic != TOPIC:
        yield f"{path}: is of topic {topic}; this runs {TOPIC}"
        return
    for number, case in enumerate(cases):
        name = case.get("name") if isinstance(case, dict) else None
        try:
            run(case)
        except Exception as problem:  # noqa: BLE001  a case may raise anything; the others are run too
            yield f"{path}: {name or f'case {number}'}: {type(problem).__name__}: {problem}"
        else:
            yield None


def main(paths: Sequence[str]) -> int:
    """Run all cases of these files, print those that fail, and count. Returns the exit code."""
    if not paths or any(path in ("-h", "--help") for path in paths):
        sys.stdout.write(__doc__ or "")
    if any(path in ("-h", "--help") for path in paths):
        return 0
    faults = [fault for path in paths for fault in outcomes(path)]
    failed = [fault for fault in faults if fault is not None]
    for fault in failed:
        print_line(fault)
    print_line(f"{len(faults) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not faults else 0


def _archive(case: Mapping[str, Any]) -> dict[str, object]:
    reader = ArchiveReader(io.BytesIO(decode_base64(case["archive"])), decode_base64(case["key"]))
    reader.verify()
    return {"frames": [{"frame": frame.NAME, **frame.fields()} for frame, _, _, _ in reader.frames()]}


def _recovery_key(case: Mapping[str, Any]) -> dict[str, object]:
    return {"key": read_recovery_key(case["recoveryKey"])}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
