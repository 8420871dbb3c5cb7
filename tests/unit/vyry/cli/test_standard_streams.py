"""Standard streams as the world hands them over: closed, full, cut off, in another encoding. One line, an exit code, no traceback."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from vyry.cli.main import main


VYRY = f"{sys.executable} -m vyry.cli.main"


def shell(line: str, more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """A line for bash, where VYRY is the command."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "VYRY": VYRY}
    done = subprocess.run(
        ["bash", "-c", line], env={**variables, **(more or {})}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["version", "client --help", "asyncapi"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_one_line(command: str, where: str) -> None:
    code, _, said = shell(f"$VYRY {command} {where}")

    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith("vyry: Cannot write to standard output")


def test_a_reader_that_has_seen_enough_is_no_problem() -> None:
    code, out, said = shell("$VYRY openapi | head -1; exit ${PIPESTATUS[0]}")

    assert (code, out, said) == (0, "{\n", "")


def test_every_stream_may_be_closed() -> None:
    code, out, said = shell("$VYRY client whoami --profile ./none <&- >&- 2>&-")

    assert (code, out, said) == (3, "", "")


@pytest.mark.parametrize(
    "more", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_an_encoding_that_lacks_characters_stops_nothing(more: Mapping[str, str]) -> None:
    code, out, said = shell("$VYRY client --help", more)

    assert (code, said) == (0, "")
    assert "whoami" in out


def test_without_a_home_folder_a_profile_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)

    codes = [main(["client", "whoami"]), main(["client", "whoami", "--profile", f"{tmp_path}/none"])]

    nameless, named = capsys.readouterr().err.splitlines()
    assert codes == [2, 3]
    assert "--profile ./NAME" in nameless
    assert named == "vyry: This profile has no account yet: run `vyry client register` or `vyry client link`."
