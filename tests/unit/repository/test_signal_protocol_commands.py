"""Each command in docs/signal-protocol.md does what it says there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


DOCUMENT = (ROOT / "docs" / "signal-protocol.md").read_text()
COMMANDS = re.findall(r"^python (.+)$", DOCUMENT, re.MULTILINE)


def test_the_document_shows_commands() -> None:
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_document_works(command: str, tmp_path: Path) -> None:
    for name in ("vyry", "scripts", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    shell = shutil.which("sh")
    assert shell

    done = subprocess.run(
        [shell, "-c", f"{sys.executable} {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "vectors " not in command or re.search(r"(?:^|\n)\d+ passed, 0 failed\n\Z|\A\Z", done.stdout)
