"""The measurement of sessions beside other libraries: our part of it runs, and its section stays in the page that other measurements write."""

import json
import subprocess
import sys

import pytest

from bench.ratchet import HEADING, LIBRARIES, MEASUREMENTS, Figures, write
from bench.results_page import find_section, replace_section
from scripts.nodes import ROOT


@pytest.mark.parametrize("more", [[], ["packed"]])
def test_our_own_figures_are_measured(more: list[str]) -> None:
    command = [sys.executable, "-m", "bench.peers.vyry_peer", "0.01", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    found = json.loads(done.stdout)
    assert set(found) == set(MEASUREMENTS if not more else MEASUREMENTS[:3])
    assert all(rate > 0 for rate in found.values())


def figures() -> Figures:
    made = Figures(2, 1.0)
    for rate in (2_000.0, 4_000.0):
        made.note("vyry", dict.fromkeys(MEASUREMENTS, rate))
    return made


def test_the_section_tells_median_and_spread_of_every_library() -> None:
    section = write(figures())

    assert "| vyry | 3,000 (2,000 to 4,000) |" in section
    assert all(f"| {library} |" in section for library in LIBRARIES)
    assert "group 6.0 times as many" in section


def test_a_section_takes_the_place_of_the_one_before_and_no_other() -> None:
    section = write(figures())
    page = replace_section("# Page\n\n## One\n\nx\n", section)

    assert page == f"# Page\n\n## One\n\nx\n\n{section}"
    assert find_section(page, HEADING) == section
    assert replace_section(page, section) == page
    assert replace_section(f"{page}\n## Behind\n\ny\n", section) == f"{page}\n## Behind\n\ny\n"
    assert find_section("# Page\n", HEADING) == ""
    assert page.count(HEADING) == 1
