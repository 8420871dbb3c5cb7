"""The figures of a whole run, and the page that tells them: ratios against the floor of the same round, with their spread."""

import math
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Figures


VARIANTS = ("floor", "embedded", "near", "far")
#: The size of an envelope's content.
CONTENT_BYTES = 1024
#: A delivery to a connected device that takes longer than this breaks a goal.
MAX_DELAY_SECONDS = 1.0

Run = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One variant in one scenario of one round."""

    figures: Figures
    processor: dict[str, float]
    written: int

    @property
    def processor_per_envelope(self) -> float:
        """Microseconds of processor time an envelope, of all processes together."""
        return sum(self.processor.values()) / self.figures.envelopes * 1e6


@dataclass(slots=True)
class Report:
    """All that was measured."""

    rounds: int
    seconds: float
    codec: str
    measured: dict[Run, list[Measurement]] = field(default_factory=dict)
    #: Envelopes a second: posted to absent receivers, and read by them when they came.
    offline: dict[str, tuple[float, float]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    sockets: int = 0

    def add_measurement(self, run: Run, figures: Figures, processor: dict[str, float], written: int) -> None:
        """Keep one measurement."""
        self.measured.setdefault(run, []).append(Measurement(figures, processor, written))

    def scenarios(self) -> list[str]:
        """What was done to each variant, in order."""
        return list(dict.fromkeys(scenario for _, scenario in self.measured))

    def ratios(self, run: Run, what: Callable[[Measurement], float]) -> list[float]:
        """By round: the variant's figure over that of the floor."""
        variant, scenario = run
        floors = self.measured["floor", scenario]
        pairs = zip(self.measured[variant, scenario], floors, strict=True)
        # A short round may use less processor time than the kernel counts.
        return [what(mine) / what(floor) for mine, floor in pairs if what(floor)] or [math.nan]


def write(report: Report) -> str:
    """The page."""
    sections = [_introduction(report), _throughput(report), _latency(report), _processor(report), _others(report)]
    if "160 in flight" in report.scenarios():
        sections.append(_goals(report))
    return "\n\n".join(sections) + "\n"


def _introduction(report: Report) -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory = int(next(line.split()[1] for line in _lines("/proc/meminfo"))) >> 20
    return f"""# What Vyry costs beside the floor

Written by `make bench`; not edited by hand. {report.rounds} interleaved rounds of {report.seconds:g} s a measurement, after a warm-up.
Machine: {cores} cores ({model}), {memory} GiB, Linux {platform.release().split("-")[0]}, Python {platform.python_version()}; the load client runs on the same cores.
Load: 1 KiB envelopes, 25 senders and 25 receivers on sockets ({report.codec}), every number checked for contiguity, no fault in any run.

- **floor**: the smallest aiohttp + asyncpg server that commits before it acknowledges (bench/baseline.py): no chain, no numbers in the database, no retries, no resume, no deletion.
- **embedded**: `vyry start`, SQLite with synchronous=FULL.
- **near**: PostgreSQL, Redis and Kafka, two web nodes and a worker; all sockets on the posting node.
- **far**: the same; receivers on the other node, so that every envelope goes through Kafka and the worker.

Ratios are against the floor of the same round: median (lowest to highest)."""


def _throughput(report: Report) -> str:
    rows = [
        (variant, scenario, *_rate(report, (variant, scenario)))
        for scenario in report.scenarios()
        if "in flight" in scenario
        for variant in VARIANTS
    ]
    head = ("variant", "load", "accepted and delivered /s", "ratio to the floor", "p50 / p99 ms")
    return "## Throughput\n\n" + _table(head, rows)


def _rate(report: Report, run: Run) -> tuple[str, str, str]:
    runs = report.measured[run]
    return (
        f"{statistics.median(each.figures.rate for each in runs):,.0f}",
        _spread(report.ratios(run, lambda each: each.figures.rate)),
        f"{_milliseconds(runs, 0.5):.1f} / {_milliseconds(runs, 0.99):.1f}",
    )


def _latency(report: Report) -> str:
    rows = [
        (variant, scenario, *_times(report, (variant, scenario)))
        for scenario in report.scenarios()
        if scenario.endswith("/s")
        for variant in VARIANTS
    ]
    head = ("variant", "load", "p50 ms", "p99 ms", "longest ms of all rounds", "p99 to the floor's")
    return "## Time from post to delivery\n\n" + _table(head, rows)


def _times(report: Report, run: Run) -> tuple[str, str, str, str]:
    runs = report.measured[run]
    return (
        f"{_milliseconds(runs, 0.5):.2f}",
        f"{_milliseconds(runs, 0.99):.2f}",
        f"{max(max(each.figures.latencies) for each in runs) * 1000:.1f}",
        _spread(report.ratios(run, lambda each: each.figures.percentile(0.99))),
    )


def _processor(report: Report) -> str:
    rows = [
        (variant, scenario, *_shares(report, (variant, scenario)))
        for scenario in report.scenarios()
        for variant in VARIANTS
    ]
    head = (
        "variant",
        "load",
        "us an envelope",
        "ratio to the floor",
        "by process (us)",
        "bytes written a byte accepted",
    )
    return "## Processor time and bytes written\n\n" + _table(head, rows)


def _shares(report: Report, run: Run) -> tuple[str, str, str, str]:
    runs = report.measured[run]
    names = runs[0].processor
    shares = {
        name: statistics.median(each.processor[name] / each.figures.envelopes * 1e6 for each in runs) for name in names
    }
    written = statistics.median(each.written / (each.figures.envelopes * CONTENT_BYTES) for each in runs)
    return (
        f"{statistics.median(each.processor_per_envelope for each in runs):.0f}",
        _spread(report.ratios(run, lambda each: each.processor_per_envelope)),
        ", ".join(f"{name} {share:.0f}" for name, share in shares.items()),
        f"{written:.2f}",
    )


def _others(report: Report) -> str:
    rows = [(variant, f"{filled:,.0f}", f"{drained:,.0f}") for variant, (filled, drained) in report.offline.items()]
    offline = _table(("variant", "posts /s to absent receivers", "entries /s when all come back"), rows)
    mine, bare = report.idle["web"] / 1024, report.idle["bare"] / 1024
    return f"""## Away and back

{offline}

## Idle sockets

{report.sockets:,} idle authenticated sockets: {mine:.1f} KiB each in the web node, {bare:.1f} KiB each in a bare aiohttp server: {mine / bare:.2f}x."""


@dataclass(frozen=True, slots=True)
class _Goal:
    text: str
    value: float
    limit: float
    is_least: bool = False

    def row(self) -> tuple[str, str, str]:
        is_reached = self.value >= self.limit if self.is_least else self.value <= self.limit
        return self.text, f"{self.value:.2f}", "reached" if is_reached else "**not reached**"


def _goals(report: Report) -> str:
    table = _table(("goal", "measured", ""), [goal.row() for goal in _goal_list(report)])
    return f"## Goals\n\n{table}\n\nWhat limits each part, and what was learned on the way: [docs/performance.md](../docs/performance.md)."


def _goal_list(report: Report) -> Iterator[_Goal]:
    for variant, rate, cost in (("near", 0.5, 2.5), ("far", 0.35, 5.0), ("embedded", 0.5, 2.2)):
        run = variant, "160 in flight"
        rates = report.ratios(run, lambda each: each.figures.rate)
        yield _Goal(
            f"{variant}: at least {rate}x the floor's throughput", statistics.median(rates), rate, is_least=True
        )
        used = statistics.median(report.ratios(run, lambda each: each.processor_per_envelope))
        yield _Goal(f"{variant}: at most {cost}x the floor's processor time an envelope", used, cost)
    late = statistics.median(report.ratios(("near", "1000/s"), lambda each: each.figures.percentile(0.99)))
    yield _Goal("near: p99 at 1,000/s at most 1.5x the floor's", late, 1.5)
    slowest = max(
        max(each.figures.latencies)
        for (variant, _), runs in report.measured.items()
        if variant != "floor"
        for each in runs
    )
    yield _Goal("no delivery to a connected device later than 1 s", slowest, MAX_DELAY_SECONDS)
    yield _Goal("idle socket: at most 1.6x bare aiohttp", report.idle["web"] / report.idle["bare"], 1.6)


def _milliseconds(runs: Sequence[Measurement], share: float) -> float:
    return statistics.median(each.figures.percentile(share) for each in runs) * 1000


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
