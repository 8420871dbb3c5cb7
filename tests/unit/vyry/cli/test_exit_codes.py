"""Exit codes, examples and completion of `vyry client`: what documents say is what the command does."""

import re
import shlex
import subprocess
from uuid import UUID

import pytest

from tests.support.paths import ROOT
from vyry.cli.client.app import app
from vyry.cli.client.exit_codes import DECISIONS, Exit, decision_for_reason, to_command_failure
from vyry.cli.main import main
from vyry.client.errors import (
    BadNumber,
    ChainBroken,
    NameChanged,
    NobodyFound,
    NotCompared,
    NotRegistered,
    Refused,
    SessionEnded,
    StoreFull,
    StoreLocked,
    Unreachable,
)
from vyry.signal_protocol.refusals import BadContent, IdentityChanged, Refusal


CLI_DOCUMENT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NotRegistered("register"), Exit.NO_ACCOUNT),
        (Unreachable("away"), Exit.NODE_AWAY),
        (StoreLocked("locked"), Exit.STORE_LOCKED),
        (SessionEnded("ended"), Exit.NO_ACCOUNT),
        (StoreFull("full"), Exit.STORE_FULL),
        (ChainBroken("broken"), Exit.UNSAFE),
        (IdentityChanged(), Exit.DECIDE),
        (NameChanged("@bo", UUID(int=1), UUID(int=2)), Exit.DECIDE),
        (NotCompared("other digits"), Exit.DECIDE),
        (NobodyFound("nobody"), Exit.NOT_FOUND),
        (BadNumber("no number"), Exit.WRONG_LINE),
        (BadContent(), Exit.FAILED),
        (Refused(404, {}), Exit.NOT_FOUND),
        (Refused(429, {}), Exit.TOO_MUCH),
        (Refused(403, {}), Exit.REFUSED),
    ],
)
def test_each_kind_of_refusal_has_its_exit_code(problem: Exception, code: Exit) -> None:
    assert to_command_failure(problem).code == code


@pytest.mark.parametrize(
    ("problem", "decision"),
    [
        (
            NameChanged("@bo", UUID(int=1), UUID(int=2)),
            {"decide": "nameChanged", "name": "@bo", "userId": str(UUID(int=1)), "newUserId": str(UUID(int=2))},
        ),
        (NotCompared("other digits"), {"decide": "notCompared"}),
        (IdentityChanged(), {"decide": "identityChanged"}),
        (ChainBroken("broken"), {}),
    ],
)
def test_what_a_person_has_to_decide_is_told_to_programs(problem: Exception, decision: dict[str, str]) -> None:
    assert to_command_failure(problem).details == (decision and {**decision, "error": str(problem)})


@pytest.mark.parametrize("reason", sorted(DECISIONS))
def test_a_refusal_of_the_protocol_is_decided_by_its_name(reason: str) -> None:
    """The same whether it is raised or told as the reason why a message was not sent."""
    assert to_command_failure(type(reason, (Refusal,), {"__doc__": "Refused."})()).code == Exit.DECIDE
    assert decision_for_reason(reason) == {"decide": reason[0].lower() + reason[1:]}
    assert decision_for_reason("BadContent") == {}


def test_the_document_has_every_exit_code_and_no_other() -> None:
    told = re.findall(r"^\| (\d+) \| `(\w+)` \|", CLI_DOCUMENT, re.MULTILINE)

    assert [(int(number), name) for number, name in told] == [(each.value, each.name) for each in Exit]


EXAMPLES = [
    line.removeprefix("vyry client ")
    for name in app
    if not name.startswith("-")
    for line in str(app[name].help_epilogue).split("\n\n")
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_line_that_the_command_takes(example: str) -> None:
    words = shlex.split(example.partition(" < ")[0])

    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)

    assert bound is not None


def test_every_command_stands_in_the_document() -> None:
    missing = [name for name in app if not name.startswith("-") and f"vyry client {name}" not in CLI_DOCUMENT]

    assert missing == []


def test_bash_completes_commands_of_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    asked = 'COMP_WORDS=(vyry client re); COMP_CWORD=2; _vyry; echo "${COMPREPLY[*]}"'

    done = subprocess.run(
        ["bash", "-c", f"{capsys.readouterr().out}\n{asked}"], capture_output=True, text=True, check=True
    )

    assert {"receive", "register"} <= set(done.stdout.split())


@pytest.mark.parametrize(("shell", "begin"), [("zsh", "#compdef vyry"), ("fish", "# Fish completion for vyry")])
def test_other_shells_are_completed_too(shell: str, begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out

    assert script.startswith(begin)
    assert "whoami" in script
