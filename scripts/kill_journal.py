"""What a device under `scripts.kill_loop` writes down as it goes, line by line, and the verdict over two such journals.

A line is written by one call to the system, and the system keeps it when the process is killed: a journal is whole up to the moment of the kill.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any


Line = dict[str, Any]


class Journal:
    """One device's: `began` when its process is up, `intended` before it says a number, `kept` once the SDK has taken it, `read` for what came, `odd` for what must not happen."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._path = path
        self._is_at_work = False

    def write_line(self, **line: object) -> None:
        """Write a line; the first after the beginning is told on standard output, too."""
        os.write(self._file, json.dumps(line).encode() + b"\n")
        if not self._is_at_work and "began" not in line:
            self._is_at_work = True
            print("at work", flush=True)

    def lines(self) -> list[Line]:
        """All lines so far."""
        return read(self._path)


def read(path: Path) -> list[Line]:
    """The lines of a journal, none if there is none yet."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def values_of(lines: Sequence[Line], name: str) -> list[int]:
    """What the lines of that name say."""
    return [line[name] for line in lines if name in line]


def read_numbers(lines: Sequence[Line]) -> list[int]:
    """What was read, in order. What was read last before a kill may come once more right after it: it was not done with."""
    found: list[int] = []
    is_first = True
    for line in lines:
        if "began" in line:
            is_first = True
        if "read" in line:
            if not (is_first and found and found[-1] == line["read"]):
                found.append(line["read"])
            is_first = False
    return found


def unread_numbers(writer: Sequence[Line], reader: Sequence[Line]) -> set[int]:
    """What the writer's SDK has taken and the reader has not read yet."""
    return set(values_of(writer, "kept")) - set(read_numbers(reader))


def find_faults(writer: Sequence[Line], reader: Sequence[Line]) -> Iterator[str]:
    """What is wrong with what one device said and the other read, once all was said and read."""
    came = read_numbers(reader)
    for number in sorted(unread_numbers(writer, reader)):
        yield f"lost: {number}"
    for number in sorted(number for number, count in Counter(came).items() if count > 1):
        yield f"doubled: {number}"
    for before, after in pairwise(came):
        if after < before:
            yield f"out of order: {after} after {before}"
    for number in sorted(set(came) - set(values_of(writer, "intended"))):
        yield f"from nowhere: {number}"
    for line in reader:
        if "odd" in line:
            yield f"odd: {line['odd']}"
