"""`make bench ARGS=--history`, or `python -m bench.history [MESSAGES]` without the page: how long a history takes out of a profile and into another, and how much memory each takes, in processes of their own.

Each half is measured as `vyry client backup` and `restore` run it, without the network: every message is sealed, written, read, verified and stored. Goal: 100,000 messages
out and in within 60 s on two cores, and less than 200 MiB each.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from bench.results_page import replace_section
from scripts.nodes import ROOT
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.history.export import HistoryExport
from vyry.client.history.importing import HistoryImport
from vyry.client.history.reading import ArchiveReader
from vyry.client.store.events import Message
from vyry.client.store.journal import Journal, KnownContent
from vyry.client.store.store import Store
from vyry.kernel.atomic_files import open_new_file


HEADING: Final = "## History out and in"
MESSAGES: Final = 100_000
GOAL_SECONDS: Final = 60
GOAL_MIB: Final = 200
_CONVERSATIONS: Final = 100
_NOW: Final = 1_800_000_000_000
_KEY: Final = bytes(range(32))
_ME, _PEER = UUID(int=1), UUID(int=2)


def main(messages: int = MESSAGES) -> int:
    """Measure, and print the figures. Exit code 1: a goal was missed."""
    text, is_met = section(messages)
    print(text)
    return 0 if is_met else 1


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    text, _ = section(1_000 if is_quick else MESSAGES)
    print(text)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), text), encoding="utf-8")


def section(messages: int) -> tuple[str, bool]:
    """Fill a profile, take its history out and into another one; the section, and whether the goals are met."""
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder) / "old.db", messages)
        out, into = (_measure(half, folder) for half in ("out", "in"))
    seconds, mebibytes = out["seconds"] + into["seconds"], max(out["mebibytes"], into["mebibytes"])
    rows = [
        f"| {name} | {each['seconds']:.1f} | {each['processor']:.1f} | {each['mebibytes']:.0f} |"
        for name, each in (("out", out), ("in", into))
    ]
    lines = (
        HEADING,
        "",
        f"`make bench ARGS=--history`: {into['added']:,} messages out of a profile into an archive of {out['bytes'] / 2**20:.1f} MiB, and into another profile: "
        f"{seconds:.1f} s in all. Goal for {MESSAGES:,}: {GOAL_SECONDS} s, less than {GOAL_MIB} MiB.",
        "",
        "| half | seconds | seconds of a processor | most memory, MiB |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    )
    is_met = seconds <= GOAL_SECONDS * messages / MESSAGES and mebibytes < GOAL_MIB and into["added"] == messages
    return "\n".join(lines), is_met


def _measure(half: str, folder: str) -> dict[str, float]:
    done = subprocess.run(
        (sys.executable, "-m", "bench.history", f"--{half}", folder), check=True, cwd=ROOT, stdout=subprocess.PIPE
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _run_half(half: str, folder: Path) -> None:
    """One half, in this process; prints its figures as JSON."""
    started = time.perf_counter()
    figures = _write(folder) if half == "--out" else _read(folder)
    seconds = time.perf_counter() - started
    # On Linux in KiB.
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = used.ru_utime + used.ru_stime
    print(json.dumps({"seconds": seconds, "processor": processor, "mebibytes": used.ru_maxrss / 2**10, **figures}))


def _write(folder: Path) -> dict[str, float]:
    archive = folder / "archive"
    with Store(folder / "old.db", _KEY) as store, open_new_file(archive, replaces=False) as file:
        for part in HistoryExport(store, _KEY, _NOW).sealed():
            file.write(part)
    return {"bytes": archive.stat().st_size}


def _read(folder: Path) -> dict[str, float]:
    with Store(folder / "new.db", _KEY) as store, (folder / "archive").open("rb") as file:
        LocalDevice.generate(_ME, 1).save(store)
        reader = ArchiveReader(file, _KEY)
        state = HistoryImport(store, reader, reader.verify()).run(_NOW)
    return {"added": state.added}


def _fill(path: Path, messages: int) -> None:
    """A profile with a history of texts of about 80 characters."""
    conversations = [uuid4() for _ in range(_CONVERSATIONS)]
    with Store(path, _KEY) as store, store.transaction():
        LocalDevice.generate(_ME, 1).save(store)
        journal = Journal(store)
        for number in range(messages):
            sender = (_PEER, _ME)[number % 2]
            message = Message(
                conversation_id=conversations[number % _CONVERSATIONS],
                sender_id=sender,
                sender_device_id=1,
                id=uuid4(),
                at=_NOW - messages + number,
                is_own=sender == _ME,
                text=f"{number}: what a person writes to another one in the evening, a line or two long",
            )
            known = KnownContent(message.conversation_id, message.at, (1,), journal.add(message, is_handled=True))
            journal.remember_content(message.id, sender, known, _NOW)


if __name__ == "__main__":
    if sys.argv[1:2] in (["--out"], ["--in"]):
        _run_half(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main(*map(int, sys.argv[1:2])))
