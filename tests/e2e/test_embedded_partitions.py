"""`vyry partitions` beside `vyry start`: it shows the one worker and its partitions, and refuses to move anything."""

import json
import os
import subprocess
import time

import pytest

from scripts.nodes import PROGRAM, AllInOneProcess


def run(node: AllInOneProcess, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], **node.environment}
    command = [*PROGRAM, "partitions", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.timeout(120)
def test_a_node_that_runs_alone_shows_its_worker_and_its_partitions(all_in_one: AllInOneProcess) -> None:
    until = time.monotonic() + 60
    # The worker of a node that was just started reports within a second.
    while (done := run(all_in_one, "--json")).returncode != 0:
        assert time.monotonic() < until, done

    found = json.loads(done.stdout)

    assert [(each["state"], each["partitions"]) for each in found["workers"]] == [("live", len(found["partitions"]))]
    assert {each["state"] for each in found["partitions"]} == {"ok"}


@pytest.mark.parametrize("words", [("plan", "drain", "any"), ("plan", "grow", "8"), ("abort",), ("unpin", "0")])
def test_a_node_that_runs_alone_refuses_to_move_anything(all_in_one: AllInOneProcess, words: tuple[str, ...]) -> None:
    done = run(all_in_one, *words)

    assert (done.returncode, done.stdout) == (3, "")
    assert "A node of `vyry start` has one worker" in done.stderr
