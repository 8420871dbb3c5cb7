"""What processes cost, read from /proc: processor time with all their children's and of the whole machine, resident memory, bytes sent to the disk."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


_TICKS = os.sysconf("SC_CLK_TCK")


Stats = Mapping[int, Sequence[str]]


def read_stats() -> Stats:
    """What the kernel counts of each process now."""
    return {int(path.name): _stat(path) for path in Path("/proc").glob("[0-9]*")}


def busy_seconds() -> float:
    """Processor time of this machine so far, of all its cores together."""
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    idle, waiting = 3, 4
    return sum(int(field) for at, field in enumerate(first) if at not in {idle, waiting}) / _TICKS


def processor_seconds(pid: int, stats: Stats | None = None) -> float:
    """Of the process and of all that it started, ended ones too."""
    stats = stats or read_stats()
    family, added = {pid}, 1
    while added:
        children = {child for child, fields in stats.items() if int(fields[1]) in family} - family
        family |= children
        added = len(children)
    return sum(int(field) for member in family for field in stats[member][11:15]) / _TICKS


def resident_bytes(pid: int) -> int:
    """The memory of the process now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def disk_bytes(pid: int) -> int:
    """What the process has caused to be written to a disk so far."""
    counters = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in counters.splitlines() if line.startswith("write_bytes"))


def _stat(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 20
