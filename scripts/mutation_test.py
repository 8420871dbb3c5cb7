"""`python -m scripts.mutation_test [WORD ...]`: plants one mistake after the other into a copy of the code, and runs the test that must notice it.

A table says for each mistake which test found it, and in how many seconds. Words choose mistakes by their names. Exit code 1: a test did not notice its
mistake, or is not green without it.
"""

import argparse
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import pytest

from scripts.mutation import Mutation
from scripts.mutations import MUTATIONS


ROOT: Final = Path(__file__).resolve().parents[1]
#: What the tests need.
_COPIED_PATHS: Final = ("vyry", "web", "agents", "migrations", "scripts", "tests", "docs", "setup.cfg")
_IGNORED: Final = shutil.ignore_patterns("node_modules", ".hypothesis", "__pycache__")
_SECONDS: Final = 120
#: Exit codes: pytest's own behind this number, so that a process that died otherwise proves nothing.
_PYTEST: Final = 100
_GREEN: Final = _PYTEST + pytest.ExitCode.OK
_RED: Final = _PYTEST + pytest.ExitCode.TESTS_FAILED


#: Each run is forked from a process that has imported what takes long, and nothing of ours.
FORKS: Final = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "pytest",
        "hypothesis.strategies",
        "hypothesis.stateful",
        "aiohttp",
        "cryptography.x509",
        "pydantic",
        "redis",
        "tortoise",
        "numpy",
    ]
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the test of a mistake said."""

    mistake: Mutation
    is_found: bool
    seconds: float
    output: str


class SourceCopy:
    """A copy of the code that one mistake at a time is planted into."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in _COPIED_PATHS:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=_IGNORED)
            elif source.exists():
                shutil.copy(source, root / name)
        # Two versions of a file can have one size and one second: what is compiled is known by the hash of its source.
        compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "vyry", "tests"]
        subprocess.run(compiling, cwd=root, check=True)

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """Exit code and words of pytest."""
        said = self._root / "said"
        run = FORKS.Process(target=_test, args=(self._root, said, tests))
        run.start()
        run.join(_SECONDS)
        if run.exitcode is None:
            run.kill()
            run.join()
        return run.exitcode or 0, said.read_text(encoding="utf-8", errors="replace")

    def run_mutation(self, mistake: Mutation) -> Outcome:
        """Run its test with the mistake in the code, which is as it was afterwards."""
        file, begun = self._root / mistake.file, time.monotonic()
        good = file.read_text(encoding="utf-8")
        file.write_text(apply_mutation(good, mistake), encoding="utf-8")
        try:
            code, said = self.run([mistake.test])
        finally:
            file.write_text(good, encoding="utf-8")
        return Outcome(mistake, code == _RED, time.monotonic() - begun, said)


def _test(root: Path, said: Path, tests: Sequence[str]) -> None:
    """In a process of its own: run these tests of that tree."""
    with said.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(root)
    sys.path[:] = [str(root), *(each for each in sys.path if each and Path(each).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in _COPIED_PATHS]:
        del sys.modules[name]
    vyry = importlib.import_module("vyry")
    if not Path(vyry.__file__ or "").is_relative_to(root):
        sys.exit(f"{vyry.__file__} is not the copy")
    # What was imported before is not rewritten for asserts, and need not be.
    quiet = (
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        "--no-header",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    )
    sys.exit(_PYTEST + int(pytest.main([*quiet, *tests])))


def apply_mutation(text: str, mistake: Mutation) -> str:
    """The file with the mistake in it. Raises ValueError when what it replaces does not stand there once."""
    if text.count(mistake.before) != 1:
        raise ValueError(f"{mistake.name}: {mistake.file} has {mistake.before!r} {text.count(mistake.before)} times")
    return text.replace(mistake.before, mistake.after)


def run_mutations(mistakes: Sequence[Mutation], jobs: int) -> list[Outcome]:
    """Plant each of them, so many at a time. Raises ValueError when a test is not green without its mistake."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[SourceCopy] = SimpleQueue()
        for number in range(jobs):
            trees.put(SourceCopy(Path(folder) / str(number)))

        def plant(mistake: Mutation) -> Outcome:
            tree = trees.get()
            try:
                return tree.run_mutation(mistake)
            finally:
                trees.put(tree)

        tree = trees.get()
        code, said = tree.run(sorted({each.test for each in mistakes}))
        trees.put(tree)
        if code != _GREEN:
            raise ValueError(f"without a mistake the tests are not green:\n{said[-4000:]}")
        return list(pool.map(plant, mistakes))


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    """A line for each mistake."""
    width = max(len(each.mistake.name) for each in outcomes)
    lines = [f"{'mistake':{width}}  {'seconds':>7}  found by"]
    for each in outcomes:
        test = each.mistake.test if each.is_found else f"NOT FOUND by {each.mistake.test}"
        lines.append(f"{each.mistake.name:{width}}  {each.seconds:7.1f}  {test}")
    found = sum(each.is_found for each in outcomes)
    return "\n".join([*lines, f"{found} of {len(outcomes)} mistakes found"])


def main(arguments: Sequence[str]) -> int:
    """Read the command line, plant, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mistakes whose names have one of these")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    asked = parser.parse_args(arguments)
    chosen = [each for each in MUTATIONS if not asked.words or any(word in each.name for word in asked.words)]
    if not chosen:
        parser.error("no mistake has such a name")
    try:
        outcomes = run_mutations(chosen, max(1, asked.jobs))
    except ValueError as wrong:
        print(wrong)
        return 1
    print(outcome_table(outcomes))
    missed = [each for each in outcomes if not each.is_found]
    for each in missed:
        print(f"\n{each.mistake.name}:\n{each.output[-2000:]}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
