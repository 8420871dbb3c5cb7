"""The systemd units run the processes of the Procfile, and systemd accepts them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


UNITS = sorted((ROOT / "ops/systemd").glob("*.service"))
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())


def _commands(unit: Path) -> list[str]:
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]


def test_there_is_a_unit_for_each_process_and_for_the_whole_node() -> None:
    commands = {command.removeprefix("/opt/vyry/bin/") for unit in UNITS for command in _commands(unit)}

    assert commands == {*PROCFILE.values(), "vyry start"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    # systemd also checks that the program exists: here it stands somewhere else.
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/opt/vyry/bin/vyry", sys.executable))

    checked = subprocess.run(["systemd-analyze", "verify", installed], check=False, capture_output=True, text=True)

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_without_privileges_and_with_private_files(unit: Path) -> None:
    lines = unit.read_text().splitlines()

    assert {
        "User=vyry",
        "NoNewPrivileges=yes",
        "UMask=0077",
        "StateDirectoryMode=0700",
        "CapabilityBoundingSet=",
    } <= set(lines)
