"""A node whose machine's clock was days ahead for a while: what it says, and that nobody waits for days once the clock is right."""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.test_start import COMMAND, environment, get, started


pytestmark = pytest.mark.timeout(180)

#: Read by Python before anything else.
SHIFT = """
import os, time
by = float(os.environ.get("SHIFT_SECONDS", "0"))
was, was_ns = time.time, time.time_ns
time.time, time.time_ns = (lambda: was() + by), (lambda: was_ns() + int(by * 1e9))
"""
ASKED = json.dumps({"phoneNumber": "+491512345001"})


def clock_ahead(variables: Mapping[str, str], folder: Path, days: int) -> dict[str, str]:
    """The same for a machine whose clock is ahead."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFT)
    shifted = {"PYTHONPATH": f"{folder}:{variables['PYTHONPATH']}", "SHIFT_SECONDS": str(days * 86_400)}
    return {**variables, **shifted}


def command(variables: Mapping[str, str], *words: str) -> str:
    """What a command says."""
    line = [sys.executable, *COMMAND[1:-1], *words]
    return subprocess.run(line, env=dict(variables), capture_output=True, text=True, check=False).stdout


def ask_for_a_code(port: str) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)) as connection:
        connection.request("POST", "/api/v1/auth/request-otp", ASKED, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_node_whose_clock_is_ahead_says_so_and_goes_on_once_it_agrees(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")
    with started(variables, tmp_path / "log"):
        pass

    with started(clock_ahead(variables, tmp_path / "shift", 100), tmp_path / "log"):
        _, metrics = get(variables["VYRY_ADMIN_PORT"], "/metrics")
        said = command(variables, "check")
    with started(variables, tmp_path / "log"):
        _, later = get(variables["VYRY_ADMIN_PORT"], "/metrics")

    assert b"vyry_clock_jump_seconds 8.6" in metrics
    assert "A node reports" in said
    assert "clock_jump_detected" in (tmp_path / "log").read_text()
    assert b"vyry_clock_jump_seconds 0.0" in later


def test_a_code_sent_while_the_clock_was_ahead_lets_nobody_wait_for_days(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")
    with started(clock_ahead(variables, tmp_path / "shift", 2), tmp_path / "log"):
        first, _ = ask_for_a_code(variables["SERVER_PORT"])

    with started(variables, tmp_path / "log"):
        status, body = ask_for_a_code(variables["SERVER_PORT"])

    assert (first, status) == (200, 429)
    assert 0 < int(str(body["retry_after_seconds"])) <= 30


def test_an_operator_confirms_a_clock_that_is_right(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data")
    with started(clock_ahead(variables, tmp_path / "shift", 2), tmp_path / "log"):
        pass

    doubted, asked = command(variables, "check"), command(variables, "clock", "confirm")
    confirmed = command(variables, "clock", "confirm", "--yes", "--reason", "the battery was empty")

    assert "A node started now does not trust its clock" in doubted
    assert "with --yes to confirm" in asked
    assert "Confirmed." in confirmed
    assert "agrees with the time stored in the database" in command(variables, "check")
    assert "the battery was empty" in command(variables, "audit")
