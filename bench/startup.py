"""`make bench ARGS=--starting`: the processor time until a command of `vyry client` has begun, beside that of an interpreter that does nothing; its section of bench/RESULTS.md."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.results_page import replace_section
from scripts.nodes import ROOT


HEADING = "## Starting a command"
#: What a command may take, in seconds.
GOAL = 0.7
NOTHING = "python -c pass"
#: The command lines that are measured, by their names in the table. Their profile does not exist, so each ends as soon as it has looked for it.
COMMANDS = {
    NOTHING: ("-c", "pass"),
    "vyry client --help": ("-m", "vyry.cli.main", "client", "--help"),
    "vyry client whoami": ("-m", "vyry.cli.main", "client", "whoami", "--profile", "./none"),
    "vyry client send": ("-m", "vyry.cli.main", "client", "send", "@bo", "hello", "--profile", "./none"),
}


def cpu_seconds(words: Sequence[str], folder: str) -> float:
    """Seconds of processor time of one Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def section(rounds: int) -> str:
    """Measure, in turns, and tell it."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, words in COMMANDS.items():
                found[name].append(cpu_seconds(words, folder))
    base = statistics.median(found[NOTHING])
    rows = [
        f"| `{name}` | {statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f}) | {statistics.median(times) / base:.0f} |"
        for name, times in found.items()
    ]
    return "\n".join(
        [
            HEADING,
            "",
            f"`make bench ARGS=--starting`: seconds of processor time, median of {rounds} rounds in turns (lowest to highest), and the ratio to an interpreter that does nothing. "
            f"A command has {GOAL} s.",
            "",
            "| command | seconds | ratio |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    text = section(1 if is_quick else 7)
    print(text)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), text), encoding="utf-8")
