"""The goals of the node's speed, as far as a run has measured what decides them."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measured import LoadReport, cost, p99, rate
from bench.tables import spread


#: A delivery to a connected device that takes longer than this breaks a goal.
MAX_DELAY_SECONDS = 1.0
BUSY = "160 in flight"
CALM = "10 in flight"
RATES = ("100/s", "1000/s")


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that a run should reach; the median of its rounds decides."""

    text: str
    rounds: Sequence[float]
    limit: float
    is_least: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the median of the rounds is on the right side of the limit."""
        value = statistics.median(self.rounds)
        return value >= self.limit if self.is_least else value <= self.limit

    def row(self) -> tuple[str, str, str]:
        """The line of the table."""
        return self.text, spread(self.rounds), "reached" if self.is_reached else "**not reached**"


def goals(load: LoadReport) -> list[Goal]:
    """Those of one load that were measured."""
    found = [*_throughput(load), *_cost(load), *_latency(load), *_written(load)]
    return [goal for goal in found if goal.rounds]


def _throughput(load: LoadReport) -> Iterator[Goal]:
    name = load.shape.name
    for variant, least in (("near", 0.45), ("embedded", 0.45), ("far", 0.3)):
        ratios = load.ratios(variant, BUSY, rate)
        yield Goal(f"{name}, {variant}: at least {least}x the floor at {BUSY}", ratios, least, is_least=True)
    for variant in ("near", "embedded"):
        ratios = load.ratios(variant, BUSY, rate, "ejabberd")
        yield Goal(f"{name}, {variant}: at least ejabberd at {BUSY}", ratios, 1.0, is_least=True)
    yield Goal(f"{name}, near: at least 0.4x the floor at {CALM}", load.ratios("near", CALM, rate), 0.4, is_least=True)


def _cost(load: LoadReport) -> Iterator[Goal]:
    for variant, most in (("near", 2.5), ("embedded", 2.5), ("far", 4.5)):
        text = f"{load.shape.name}, {variant}: at most {most}x the floor's processor time at {BUSY}"
        yield Goal(text, load.ratios(variant, BUSY, cost), most)


def _latency(load: LoadReport) -> Iterator[Goal]:
    name = load.shape.name
    for variant, most in (("near", 2.0), ("far", 4.0)):
        for scenario in RATES:
            text = f"{name}, {variant}: p99 at {scenario} at most {most:g}x the floor's"
            yield Goal(text, load.ratios(variant, scenario, p99), most)
    longest = [
        max(each.figures.latencies)
        for variant in ("embedded", "near", "far")
        for runs in load.measured.get(variant, {}).values()
        for each in runs
    ]
    yield Goal(
        f"{name}: no delivery to a connected device later than 1 s",
        [max(longest)] if longest else [],
        MAX_DELAY_SECONDS,
    )


def _written(load: LoadReport) -> Iterator[Goal]:
    for variant, most in (("near", 2.2), ("embedded", 6.0)):
        rounds = [each.written_per_byte for each in load.rounds_of(variant, BUSY)]
        yield Goal(
            f"{load.shape.name}, {variant}: at most {most} bytes written a byte accepted at {BUSY}", rounds, most
        )
