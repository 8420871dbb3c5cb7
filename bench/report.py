"""The page of a whole run, or of as much of it as has been measured: figures and ratios of the same round, with their spread."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.goals import Goal, goals
from bench.measured import LoadReport, Measurement, cost, p99, rate
from bench.tables import spread, table


HEADING = "# What Vyry costs beside the floor"
ABOUT = {
    "floor": "the smallest aiohttp + asyncpg server that commits before it acknowledges (bench/baseline.py): no chain, no numbers in the database, no retries, no resume, no deletion",
    "embedded": "`vyry start`, SQLite with synchronous=FULL",
    "near": "PostgreSQL, Redis and Kafka, two web nodes and a worker; all sockets on the posting node",
    "far": "the same; receivers on the other node, so that every envelope goes through Kafka and the worker",
    "ejabberd": "ejabberd of Debian, XMPP with stream management both ways; its Mnesia log is not synced before the acknowledgement",
    "synapse": "Matrix Synapse on PostgreSQL, to-device messages, long polls; commits before the answer",
}


@dataclass(slots=True)
class Report:
    """All that was measured."""

    rounds: int
    seconds: float
    loads: list[LoadReport]
    #: Bytes of memory an idle socket, in the web node and in a bare server.
    idle: dict[str, float] = field(default_factory=dict)
    sockets: int = 0

    def goals(self) -> list[Goal]:
        """The goals that what was measured decides, load by load."""
        found = [goal for load in self.loads for goal in goals(load)]
        if self.idle:
            found.append(
                Goal("idle socket: at most 1.5x bare aiohttp", [self.idle["web"] / self.idle["bare"]], limit=1.5)
            )
        return found


def write(report: Report) -> str:
    """The page."""
    sections = [_introduction(report)]
    for load in report.loads:
        sections += [_closed(load), _open(load), _processor(load), _offline(load)]
    sections += [_idle(report), _goals(report.goals())]
    return "\n\n".join(section for section in sections if section) + "\n"


def _introduction(report: Report) -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory = int(next(line.split()[1] for line in _lines("/proc/meminfo"))) >> 20
    variants = dict.fromkeys(name for load in report.loads for name in load.measured)
    about = "\n".join(f"- **{name}**: {ABOUT.get(name, 'another source tree')}." for name in variants)
    shapes = "\n".join(f"- **{load.shape.name}**: {load.shape.text}." for load in report.loads)
    return f"""{HEADING}

Written by `make bench`, round by round; not edited by hand. {report.rounds} interleaved rounds of {report.seconds:g} s a measurement, after a warm-up.
Machine: {cores} cores ({model}), {memory} GiB, Linux {platform.release().split("-")[0]}, Python {platform.python_version()}; the load client runs on the same cores.
Envelopes of 1 KiB; each is counted once, every mailbox number is checked to follow the one before, no fault in any run. Latency counts from the moment at which a post was due.

{about}

The loads:

{shapes}

Figures are medians of all rounds, ratios are against the floor of the same round: median (lowest to highest). *Foreign* is the number of cores that other programs kept busy meanwhile."""


def _closed(load: LoadReport) -> str:
    rows = [
        (
            variant,
            scenario,
            f"{load.median(variant, scenario, rate):,.0f}",
            spread(load.ratios(variant, scenario, rate)),
            f"{_median_ms(runs, 0.5):.1f} / {_median_ms(runs, 0.99):.1f}",
            f"{statistics.median(each.foreign for each in runs):.2f}",
        )
        for variant, scenario, runs in _rows(load)
        if "in flight" in scenario
    ]
    head = ("variant", "load", "accepted and delivered /s", "ratio to the floor", "p50 / p99 ms", "foreign")
    return _section(load, "throughput", head, rows)


def _open(load: LoadReport) -> str:
    rows = [
        (
            variant,
            scenario,
            f"{_median_ms(runs, 0.5):.2f}",
            f"{_median_ms(runs, 0.99):.2f}",
            f"{max(each.milliseconds(1) for each in runs):.1f}",
            spread(load.ratios(variant, scenario, p99)),
            f"{statistics.median(each.foreign for each in runs):.2f}",
        )
        for variant, scenario, runs in _rows(load)
        if scenario.endswith("/s")
    ]
    head = ("variant", "load", "p50 ms", "p99 ms", "longest ms of all rounds", "p99 to the floor's", "foreign")
    return _section(load, "time from post to delivery", head, rows)


def _processor(load: LoadReport) -> str:
    rows = [
        (
            variant,
            scenario,
            f"{load.median(variant, scenario, cost):.0f}",
            spread(load.ratios(variant, scenario, cost)),
            _by_process(runs),
            f"{statistics.median(each.written_per_byte for each in runs):.2f}",
        )
        for variant, scenario, runs in _rows(load)
    ]
    head = (
        "variant",
        "load",
        "us an envelope",
        "ratio to the floor",
        "by process (us)",
        "bytes written a byte accepted",
    )
    return _section(load, "processor time and bytes written", head, rows)


def _by_process(runs: Sequence[Measurement]) -> str:
    shares = {
        name: statistics.median(each.processor[name] / each.figures.envelopes * 1e6 for each in runs)
        for name in runs[0].processor
    }
    return ", ".join(f"{name} {share:.0f}" for name, share in shares.items())


def _offline(load: LoadReport) -> str:
    rows = [
        (variant, spread([filled for filled, _ in rounds], 0), spread([drained for _, drained in rounds], 0))
        for variant, rounds in load.offline.items()
    ]
    head = ("variant", "posts /s to absent receivers", "entries /s when all come back")
    return _section(load, "away and back", head, rows)


def _idle(report: Report) -> str:
    if not report.idle:
        return ""
    mine, bare = report.idle["web"] / 1024, report.idle["bare"] / 1024
    return f"""## Idle sockets

{report.sockets:,} idle authenticated sockets: {mine:.1f} KiB each in the web node, {bare:.1f} KiB each in a bare aiohttp server: {mine / bare:.2f}x."""


def _goals(reached: Sequence[Goal]) -> str:
    if not reached:
        return ""
    rows = [goal.row() for goal in reached]
    return f"""## Goals

{table(("goal", "measured", ""), rows)}

What limits each part, and what was learned on the way: [docs/performance.md](../docs/performance.md)."""


def _rows(load: LoadReport) -> list[tuple[str, str, list[Measurement]]]:
    """What was measured: variant, scenario, rounds."""
    return [
        (variant, scenario, runs)
        for scenario in load.scenarios()
        for variant in load.measured
        if (runs := load.rounds_of(variant, scenario))
    ]


def _section(load: LoadReport, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## Load `{load.shape.name}`: {title}\n\n{table(head, rows)}" if rows else ""


def _median_ms(runs: Sequence[Measurement], share: float) -> float:
    return statistics.median(each.milliseconds(share) for each in runs)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
