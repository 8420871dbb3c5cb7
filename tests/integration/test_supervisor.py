"""`--processes N`: children are replaced, signals are passed on, nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.services import end_with_parent
from tests.support.paths import ROOT


PROGRAM = """
import asyncio, os, sys
from functools import partial
from vyry.cli.process import run_process
from vyry.cli.supervisor import Supervisor
from vyry.telemetry import configure_logging

async def serve(number, stop):
    os.write(1, b"%d %d\\n" % (number, os.getpid()))
    await stop.wait()

configure_logging()

def child(parent, number):
    return run_process(partial(serve, number), parent=parent) if len(sys.argv) == 1 else int(sys.argv[1])

sys.exit(Supervisor(child, 3, 17.0, *map(float, sys.argv[2:])).run())
"""


class Supervised:
    """The program above, running."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        end_with_parent(self.process.pid)

    def close(self) -> None:
        """Nobody listens to it any more."""
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def child(self) -> int:
        """The next child that says it is up."""
        return self.numbered_child()[1]

    def numbered_child(self) -> tuple[int, int]:
        """The number and the process id of the next child that says it is up."""
        assert self.process.stdout
        number, pid = map(int, self.process.stdout.readline().split())
        return number, pid


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    running = Supervised()
    yield running
    running.process.kill()
    running.close()


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_gone(pids: list[int], within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while any(map(is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_there, pids))


def test_a_child_that_dies_is_replaced(supervised: Supervised) -> None:
    children = [supervised.child() for _ in range(3)]

    os.kill(children[0], signal.SIGKILL)

    assert supervised.child() not in children


def test_a_replacement_has_the_number_of_the_child_that_died(supervised: Supervised) -> None:
    children = dict(supervised.numbered_child() for _ in range(3))

    os.kill(children[1], signal.SIGKILL)

    assert (sorted(children), supervised.numbered_child()[0]) == ([0, 1, 2], 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_children_and_then_the_supervisor_well(
    supervised: Supervised, number: signal.Signals
) -> None:
    children = [supervised.child() for _ in range(3)]

    supervised.process.send_signal(number)

    assert supervised.process.wait(10) == 0
    assert all_gone(children)


def test_children_do_not_outlive_a_killed_supervisor(supervised: Supervised) -> None:
    children = [supervised.child() for _ in range(3)]

    supervised.process.kill()

    assert all_gone(children)


def test_children_end_also_when_nobody_reads_what_they_say(supervised: Supervised) -> None:
    children = [supervised.child() for _ in range(3)]
    assert supervised.process.stderr

    supervised.process.stderr.close()
    supervised.process.kill()

    assert all_gone(children)


def test_children_that_never_start_end_the_attempt() -> None:
    began = time.monotonic()
    supervised = Supervised("7", "0.01")

    assert supervised.process.wait(30) != 0
    assert time.monotonic() - began < 20
    supervised.close()
