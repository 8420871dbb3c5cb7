"""What the rounds of one load measured, variant by variant, whole or as far as it got."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.load import CONTENT_BYTES, Figures
from bench.shapes import Shape


@dataclass(frozen=True, slots=True)
class Measurement:
    """One variant in one scenario of one round."""

    figures: Figures
    #: Seconds of processor time, by process.
    processor: dict[str, float]
    written: int
    #: Cores that processes outside the benchmark used.
    foreign: float

    @property
    def processor_per_envelope(self) -> float:
        """Microseconds of processor time an envelope, of all processes together."""
        return sum(self.processor.values()) / self.figures.envelopes * 1e6

    @property
    def written_per_byte(self) -> float:
        """Bytes written for each byte accepted."""
        return self.written / (self.figures.envelopes * CONTENT_BYTES)

    def milliseconds(self, share: float) -> float:
        """The latency that `share` of the envelopes did not exceed."""
        return self.figures.percentile(share) * 1000


Figure = Callable[[Measurement], float]


@dataclass(slots=True)
class LoadReport:
    """All measurements of one load; ratios are against the `reference` of the same round."""

    shape: Shape
    reference: str = "floor"
    #: By variant, then by scenario.
    measured: dict[str, dict[str, list[Measurement]]] = field(default_factory=dict)
    #: By variant: envelopes a second that were posted to absent receivers, and that they read when they came.
    offline: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, variant: str, scenario: str, measurement: Measurement) -> None:
        """Keep one measurement."""
        self.measured.setdefault(variant, {}).setdefault(scenario, []).append(measurement)

    def add_offline(self, variant: str, filled: float, drained: float) -> None:
        """Keep one round of posts to absent receivers, in envelopes a second."""
        self.offline.setdefault(variant, []).append((filled, drained))

    def scenarios(self) -> list[str]:
        """What was done to the variants, in order."""
        return list(dict.fromkeys(scenario for by_scenario in self.measured.values() for scenario in by_scenario))

    def rounds_of(self, variant: str, scenario: str) -> list[Measurement]:
        """One variant in one scenario, round by round."""
        return self.measured.get(variant, {}).get(scenario, [])

    def median(self, variant: str, scenario: str, figure: Figure) -> float:
        """Over all rounds."""
        return statistics.median(figure(each) for each in self.rounds_of(variant, scenario))

    def ratios(self, variant: str, scenario: str, figure: Figure, reference: str | None = None) -> list[float]:
        """By round: the variant's figure over that of the reference. A round too short for the kernel's clock has none."""
        mine = self.rounds_of(variant, scenario)
        theirs = self.rounds_of(reference or self.reference, scenario)
        # The last round may have ended after the reference.
        return [figure(one) / figure(other) for one, other in zip(mine, theirs, strict=False) if figure(other)]


def rate(measurement: Measurement) -> float:
    """Envelopes accepted and delivered a second."""
    return measurement.figures.rate


def cost(measurement: Measurement) -> float:
    """Microseconds of processor time an envelope."""
    return measurement.processor_per_envelope


def p99(measurement: Measurement) -> float:
    """Milliseconds."""
    return measurement.milliseconds(0.99)
