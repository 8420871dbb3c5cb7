"""Runs `vyry client` in the process of the test, with a home folder of its own."""

import io
import json
import shlex
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import unused_number
from vyry.cli.client.exit_codes import Exit
from vyry.cli.main import main


@dataclass(frozen=True, slots=True)
class CliResult:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json_objects(self) -> list[dict[str, Any]]:
        """What it said to programs."""
        return [json.loads(line) for line in self.out.splitlines()]


class TtyInput(io.TextIOWrapper):
    """Standard input that says that a person types."""

    def isatty(self) -> bool:
        """See io.IOBase."""
        return True


@dataclass
class CliRunner:
    """Where somebody types. `home` holds the profiles; `variables` are those of the shell."""

    node: AllInOneProcess
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, typed: str = "", is_person: bool = False) -> CliResult:
        """One command to its end; `is_person`: standard input is a terminal."""
        stream = (TtyInput if is_person else io.TextIOWrapper)(io.BytesIO(typed.encode()), "utf-8")
        said, complained = io.StringIO(), io.StringIO()
        with (
            patch.dict("os.environ", {"HOME": str(self.home)}),
            patch("sys.stdin", stream),
            redirect_stdout(said),
            redirect_stderr(complained),
        ):
            code = main(words)
        return CliResult(code, said.getvalue(), complained.getvalue())

    def run_client(self, profile: str, *words: str, typed: str = "") -> CliResult:
        """`vyry client` as that device."""
        return self.run("client", *words, "--profile", profile, typed=typed)

    def run_client_json(self, profile: str, *words: str, typed: str = "") -> list[dict[str, Any]]:
        """The same with --json, and it has to work. That it waits for a busy node is no complaint."""
        done = self.run_client(profile, *words, "--json", typed=typed)
        complaints = [line for line in done.err.splitlines() if not line.startswith("vyry: Waiting: ")]
        assert (done.code, complaints) == (0, []), done
        return done.json_objects

    def sign_up(self, profile: str, number: str | None = None) -> str:
        """Somebody new; answers the user id."""
        known = ("--codes", str(self.node.otp_file), "--url", self.node.url)
        return str(self.run_client_json(profile, "register", number or unused_number(), *known)[0]["userId"])

    def run_documented_line(self, line: str) -> CliResult:
        """A line as it stands in documents: `NAME=$(vyry ... | jq -r .field)`, `echo words | vyry ...`, or `vyry ...`. Their node is this one."""
        name, equals, rest = line.partition("=$(")
        command = rest.removesuffix(")") if equals else line
        command, _, wanted = command.partition(" | ") if equals else (command, "", "")
        typing, pipe, piped = command.partition(" | ")
        typed = " ".join(_expand_words(typing, self.variables)[1:]) + "\n" if pipe else ""
        words = _expand_words(piped if pipe else command, self.variables)
        assert words[0] == "vyry", line
        files = {name: f"{self.home}/{name}" for name in ("account.json", "archive.json")}
        files["codes.jsonl"] = str(self.node.otp_file)
        known = ["--url", self.node.url] if "register" in words else []
        done = self.run(*[files.get(word, word) for word in words[1:]], *known, typed=typed)
        if equals:
            self.variables[name] = str(done.json_objects[0][wanted.removeprefix("jq -r .")])
        return done


def _expand_words(line: str, variables: Mapping[str, str]) -> list[str]:
    words = shlex.split(line, comments=True)
    return [variables[word[1:]] if word.startswith("$") else word for word in words]


def refused(done: CliResult, code: Exit, word: str) -> None:
    """One line on standard error, nothing on standard output, and the code of that kind."""
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1), done
    assert word in done.err
