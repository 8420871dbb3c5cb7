"""`python -m tests.fuzz SECONDS [TARGET ...]`: all targets under atheris, side by side on all processors, SECONDS in all. Exit code 1 on a finding.

What is found on the way is kept in .fuzz/TARGET and grown from next time; a finding lies beside it as crash-*, and is tried again with
`python -m tests.fuzz --one TARGET .fuzz/TARGET-findings/crash-...`.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.support.paths import ROOT


GROWN_CORPUS = ROOT / ".fuzz"
#: Bytes; the largest seed is a set of keys.
MAX_INPUT_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class TargetRun:
    """What became of one target."""

    name: str
    executions: int
    exit_code: int
    output: str


def main(arguments: list[str]) -> int:
    """Fuzz; with --one in this process, which atheris then ends."""
    if arguments[0] == "--one":
        return _run_in_process(arguments[1], arguments[2:])
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  the process that fuzzes imports them instrumented

    names = arguments[1:] or list(TARGETS)
    workers = min(os.cpu_count() or 1, len(names))
    seconds = max(1, int(arguments[0]) * workers // len(names))
    with ThreadPoolExecutor(workers) as pool:
        runs = [_print_run(run) for run in pool.map(lambda name: _run(name, seconds), names)]
    findings = [run.name for run in runs if run.exit_code]
    print(f"{sum(run.executions for run in runs):,} executions of {len(runs)} targets; findings: {findings or 'none'}")
    return 1 if findings else 0


def _run(name: str, seconds: int) -> TargetRun:
    findings = GROWN_CORPUS / f"{name}-findings"
    for folder in (GROWN_CORPUS / name, findings):
        folder.mkdir(parents=True, exist_ok=True)
    corpus = [str(GROWN_CORPUS / name), str(ROOT / "tests" / "fuzz" / "corpus" / name)]
    limits = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=2048"]
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, *corpus, *limits, "-print_final_stats=1"]
    done = subprocess.run(
        [*command, f"-artifact_prefix={findings}/"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    counted = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout)
    return TargetRun(name, int(counted[1]) if counted else 0, done.returncode, done.stdout)


def _print_run(run: TargetRun) -> TargetRun:
    print(f"{run.name:16} {run.executions:>12,} {'FINDING' if run.exit_code else 'ok'}", flush=True)
    if run.exit_code:
        print(run.output[-6000:], flush=True)
    return run


def _run_in_process(name: str, arguments: list[str]) -> int:
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415  in .venv-fuzz, for `make fuzz` alone

    with atheris.instrument_imports(include=["vyry", "web", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  so that they are instrumented
    atheris.Setup([name, *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
