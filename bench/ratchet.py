"""`make bench ARGS=--ratchet`: what sessions and sender keys cost beside other libraries, in one run on one core; its section of bench/RESULTS.md.

Each library is a program of its own in bench/peers, and all take their turn in each round. What they are installed from is named there; nothing of
Vyry imports any of it.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.results_page import replace_section
from scripts.nodes import ROOT


PEERS = ROOT / "bench" / "peers"
HEADING = "## Sessions and sender keys"
MEASUREMENTS = ("one way", "turns", "group", "handshakes")
GOALS = {"one way": 1_000, "turns": 1_000, "group": 500}
#: Name in the table, and the licence; in the order of the table.
LIBRARIES = {
    "vyry": "vyry.signal_protocol: Python over `cryptography`, ML-KEM-1024; states are values",
    "vyry, packed": "the same, each state made bytes and read again around each message, as the SDK keeps it",
    "libsignal": "@signalapp/libsignal-client 0.103.0 (Rust under Node.js, AGPL-3.0), Kyber-1024 and a post-quantum ratchet; records serialized around each message",
    "vodozemac": "vodozemac 0.10.0 (Rust under Python, Apache-2.0, bindings MIT): Olm and Megolm, nothing post-quantum",
    "doubleratchet": "DoubleRatchet 1.3.0 (Python over `cryptography`, MIT): the ratchet alone",
}


@dataclass(slots=True)
class Figures:
    """Messages a second, by library and measurement, round by round."""

    rounds: int
    seconds: float
    found: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def note(self, library: str, rates: Mapping[str, float]) -> None:
        """Keep one library's round."""
        for measurement, rate in rates.items():
            self.found.setdefault((library, measurement), []).append(rate)

    def cell(self, library: str, measurement: str) -> str:
        """Median, and the slowest and fastest round."""
        rates = self.found.get((library, measurement))
        if not rates:
            return "-"
        return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def cache() -> Path:
    """Where scripts/install-services keeps what tests need, too."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vyry"


def peers_python() -> Path:
    """A Python with the peers' libraries, made when it is not there."""
    lock = PEERS / "requirements.lock"
    folder = cache() / f"peers-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not (folder / "installed").exists():
        venv.create(folder, clear=True, with_pip=True)
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps")
        command: list[str | Path] = [folder / "bin" / "python", *install, "-r", lock]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (folder / "installed").touch()
    return folder / "bin" / "python"


def libsignal() -> Path:
    """Where scripts/install-services put the official library."""
    lock = hashlib.sha256((ROOT / "tests" / "libsignal" / "package-lock.json").read_bytes()).hexdigest()[:16]
    return cache() / f"libsignal-{lock}"


def commands(seconds: float) -> dict[str, Sequence[str | Path]]:
    """One program a library."""
    python, official, spent = peers_python(), libsignal(), str(seconds)
    itself = [sys.executable, "-m", "bench.peers.vyry_peer", spent]
    return {
        "vyry": itself,
        "vyry, packed": [*itself, "packed"],
        "libsignal": [official / "node_modules/.bin/node", PEERS / "libsignal.mjs", official, spent],
        "vodozemac": [python, "-m", "bench.peers.vodozemac_peer", spent],
        "doubleratchet": [python, "-m", "bench.peers.doubleratchet_peer", spent],
    }


def measure(rounds: int, seconds: float) -> Figures:
    """All libraries, one after the other, in each round, on one core."""
    figures = Figures(rounds, seconds)
    programs = commands(seconds)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        for number in range(rounds):
            for name, command in programs.items():
                print(f"round {number + 1} of {rounds}: {name}", flush=True)
                figures.note(name, _run(command))
    finally:
        os.sched_setaffinity(0, cores)
    return figures


def _run(command: Sequence[str | Path]) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write(figures: Figures) -> str:
    """The section."""
    rows = [
        f"| {library} | {' | '.join(figures.cell(library, each) for each in MEASUREMENTS)} |" for library in LIBRARIES
    ]
    told = [f"- **{library}**: {what}." for library, what in LIBRARIES.items()]
    reached = [
        f"{each} {statistics.median(figures.found['vyry', each]) / least:.1f} times as many"
        for each, least in GOALS.items()
    ]
    return f"""{HEADING}

Written by `make bench ARGS=--ratchet`: messages of 100 bytes, each sealed and opened, a second of processor time on one core; {figures.rounds} interleaved rounds of {figures.seconds:g} s a measurement,
median (lowest to highest). One way: in one chain. Turns: each message goes the other way and turns the ratchet. Group: a sender key and one reader. Handshakes: begun, answered and a first message opened.

{chr(10).join(told)}

| library | one way | turns | group | handshakes |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}

Goals: 1,000 one-to-one and 500 group messages a second in one core. Reached: {", ".join(reached)}.
"""


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    figures = measure(1, 0.05) if is_quick else measure(5, 1.0)
    section = write(figures)
    print(section)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), section), encoding="utf-8")
