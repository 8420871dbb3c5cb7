"""The page of a run: ratios of the same round with their spread, goals that were decided, and no line for what was not measured."""

from bench.goals import goals
from bench.load import Figures
from bench.measured import LoadReport, Measurement, rate
from bench.report import Report, write
from bench.shapes import MESH


def measurement(envelopes_per_second: float, processor: float = 1.0) -> Measurement:
    return Measurement(Figures(1_000, envelopes_per_second, [0.001, 0.002]), {"web": processor}, 2_048_000, 0.1)


def load_report(*rounds: tuple[float, float]) -> LoadReport:
    found = LoadReport(MESH)
    for floor, near in rounds:
        found.add("floor", "160 in flight", measurement(floor))
        found.add("near", "160 in flight", measurement(near))
    return found


def test_a_ratio_is_that_of_the_same_round() -> None:
    load = load_report((1_000, 500), (4_000, 1_000))

    assert load.ratios("near", "160 in flight", rate) == [0.5, 0.25]


def test_a_round_that_broke_off_has_no_ratio() -> None:
    load = load_report((1_000, 500))
    load.add("floor", "160 in flight", measurement(2_000))

    assert load.ratios("near", "160 in flight", rate) == [0.5]


def test_a_round_too_short_for_the_clock_of_the_kernel_has_no_ratio() -> None:
    load = LoadReport(MESH)
    load.add("floor", "100/s", measurement(100, processor=0.0))
    load.add("near", "100/s", measurement(100))

    assert load.ratios("near", "100/s", lambda each: each.processor_per_envelope) == []


def test_only_goals_that_were_measured_are_listed() -> None:
    texts = {goal.text: goal.is_reached for goal in goals(load_report((1_000, 500)))}

    assert texts["mesh, near: at least 0.45x the floor at 160 in flight"] is True
    assert texts["mesh, near: at most 2.5x the floor's processor time at 160 in flight"] is True
    assert not any("far" in text or "ejabberd" in text for text in texts)


def test_the_page_tells_what_there_is_after_the_first_round() -> None:
    page = write(Report(5, 3.0, [load_report((1_000, 250))]))

    assert "| near | 160 in flight | 250 | 0.25 (0.25 to 0.25) | 2.0 / 2.0 | 0.10 |" in page
    assert "**not reached**" in page
    assert "100/s |" not in page
    assert "Idle" not in page
