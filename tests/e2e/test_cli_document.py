"""docs/cli.md is true: its lines are run, one after the other, and each works."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner


DOCUMENT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def lines() -> list[str]:
    """Every line of `vyry client` in a block of the document."""
    blocks = re.findall(r"^```\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "vyry client " in line]


def operator_invitation(node: AllInOneProcess) -> str:
    """A link of `vyry invite`, as the operator of this node makes it."""
    command = [sys.executable, "-m", "vyry.cli.main", "invite", "--url", node.url, "--json"]
    done = subprocess.run(command, env=node.environment, cwd=node.folder, capture_output=True, check=True, timeout=60)
    return str(json.loads(done.stdout)["url"])


@pytest.mark.timeout(120)
def test_each_line_of_the_document_works(
    all_in_one: AllInOneProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = CliRunner(all_in_one, tmp_path)
    terminal.variables["INVITATION"] = operator_invitation(all_in_one)

    for line in lines():
        done = terminal.run_documented_line(line)

        assert (done.code, done.err) == (0, ""), (line, done)


def test_the_document_shows_more_than_one_line() -> None:
    assert len(lines()) > 5
