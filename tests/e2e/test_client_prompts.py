"""`vyry client` before a person: what it asks, again when it was mistyped, and how waiting ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliResult, CliRunner
from tests.support.rest_device import unused_number
from vyry.cli.client.exit_codes import Exit


COMMAND = [sys.executable, "-m", "vyry.cli.main", "client"]


@pytest.fixture(scope="module")
def cli(all_in_one: AllInOneProcess, tmp_path_factory: pytest.TempPathFactory) -> CliRunner:
    made = CliRunner(all_in_one, tmp_path_factory.mktemp("home"))
    made.variables = {"ANN": made.sign_up("ann"), "BO": made.sign_up("bo")}
    return made


@dataclass
class TerminalSession:
    """A command that runs on a terminal."""

    run: "subprocess.Popen[bytes]"
    terminal: int
    seen: bytes = b""

    def until(self, text: str) -> bytes:
        """Read until this was shown since the last time; answers what was shown before it."""
        while text.encode() not in self.seen:
            self.seen += os.read(self.terminal, 1_024)
        before, _, self.seen = self.seen.partition(text.encode())
        return before

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.terminal, f"{text}\n".encode())


@contextmanager
def open_terminal(cli: CliRunner, *words: str) -> Iterator[TerminalSession]:
    """The command on a terminal of its own; killed at the end if it still runs."""
    mine, its = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "HOME": str(cli.home), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*COMMAND, *words], env=variables, stdin=its, stderr=its, stdout=subprocess.PIPE) as run:
        os.close(its)
        try:
            yield TerminalSession(run, mine)
        finally:
            run.kill()
            os.close(mine)


def code_for(node: AllInOneProcess, number: str) -> str:
    """The newest code that the node sent there."""
    sent = map(json.loads, node.otp_file.read_text().splitlines())
    return str([each["otp"] for each in sent if each["phoneNumber"] == number][-1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_prompt_at_once(cli: CliRunner, number: signal.Signals, code: int) -> None:
    with open_terminal(cli, "register", unused_number(), "--profile", "new", "--url", cli.node.url) as seat:
        seat.until("sent: ")
        seat.run.send_signal(number)

        assert seat.run.wait(30) == code


def test_a_mistyped_code_is_asked_for_again(cli: CliRunner) -> None:
    number = unused_number()
    with open_terminal(cli, "register", number, "--profile", "typist", "--url", cli.node.url) as seat:
        seat.until("sent: ")
        right = code_for(cli.node, number)
        seat.type(f"{(int(right) + 1) % 10**6:06d}")
        seat.until("attempts left")
        seat.until("sent: ")
        seat.type(right)

        assert seat.run.wait(30) == 0


def test_a_passphrase_is_typed_unseen(cli: CliRunner) -> None:
    known = ("--codes", str(cli.node.otp_file), "--url", cli.node.url, "--passphrase-file", "-")
    with open_terminal(cli, "register", unused_number(), "--profile", "unseen", *known) as seat:
        seat.until("unseen: ")
        seat.type("hidden words")

        assert b"hidden" not in seat.until("\n")
        assert seat.run.wait(30) == 0


def test_a_script_is_asked_again_until_its_lines_end(cli: CliRunner) -> None:
    done = cli.run_client("script", "register", unused_number(), "--url", cli.node.url, typed="000000\n000000\n")

    assert (done.code, done.err.count("INVALID_OTP"), "attempts left" in done.err) == (Exit.REFUSED, 1, True)


def test_a_mistyped_pin_is_asked_for_again(cli: CliRunner, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("correct horse 7\n")
    cli.run_client_json("ann", "pin", "set", "--pin-file", str(pin))

    typed = "battery staple\ncorrect horse 7\n"
    done = cli.run("client", "pin", "remove", "--profile", "ann", typed=typed, is_person=True)

    assert (done.code, done.out) == (0, "No PIN is set.\n")
    assert "attempts left" in done.err


DESTROYING = [
    ("register", "+491512345678"),
    ("link",),
    ("logout",),
    ("devices", "remove", "1"),
    ("groups", "leave", "Walks"),
]


@pytest.mark.parametrize("words", DESTROYING, ids=" ".join)
@pytest.mark.parametrize(("typed", "is_person"), [("", False), ("no\n", True), ("", True)])
def test_what_cannot_be_undone_is_not_done_unasked(
    cli: CliRunner, words: tuple[str, ...], typed: str, is_person: bool
) -> None:
    if not any("Walks" in line for line in cli.run_client("bo", "chats").out.splitlines()):
        cli.run_client_json("bo", "groups", "create", "Walks")

    done = cli.run("client", *words, "--profile", "bo", typed=typed, is_person=is_person)

    assert done.code == Exit.DECIDE, done
    assert is_person or "--yes" in done.err
    assert cli.run_client_json("bo", "whoami")[0]["userId"] == cli.variables["BO"]
    assert len(cli.run_client_json("bo", "devices", "list")) == 1
    assert "Walks" in cli.run_client("bo", "chats").out


def test_a_person_who_types_yes_goes_on(cli: CliRunner) -> None:
    cli.sign_up("cy")

    done = cli.run("client", "logout", "--profile", "cy", typed="yes\n", is_person=True)

    assert done.code == 0
    assert cli.run_client("cy", "devices", "list").code == Exit.NO_ACCOUNT


def test_with_the_flag_another_account_takes_the_place(cli: CliRunner) -> None:
    before = cli.sign_up("dan")
    known = ("--codes", str(cli.node.otp_file), "--url", cli.node.url)

    after = cli.run_client_json("dan", "register", unused_number(), *known, "--yes")[0]["userId"]

    assert cli.run_client_json("dan", "whoami")[0]["userId"] == after != before


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (b"", "Nothing to send"),
        (b" \n", "Nothing to send"),
        (b"\xef\xbb\xbf\xe2\x80\x8b", "Nothing to send"),
        (b"na\xefve", "UTF-8"),
        (b"a\0b", "NUL"),
    ],
)
def test_what_is_no_text_is_refused_in_words_about_it(cli: CliRunner, typed: bytes, word: str) -> None:
    done = run_with_input(cli, "send", cli.variables["BO"], "--profile", "ann", typed=typed)

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")
    assert word in done.err


@pytest.mark.parametrize("words", [("send", "TO", "look", "--file", "-"), ("files", "send", "TO", "-")])
def test_an_empty_standard_input_is_no_file(cli: CliRunner, words: tuple[str, ...]) -> None:
    to = [cli.variables["BO"] if each == "TO" else each for each in words]

    done = run_with_input(cli, *to, "--profile", "ann", typed=b"")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")
    assert "standard input is empty" in done.err


@pytest.mark.parametrize("uri", ["vyry://x", "-5", "https://example.com"])
def test_what_is_no_link_of_a_new_device_is_refused_in_words_about_it(cli: CliRunner, uri: str) -> None:
    done = cli.run_client("ann", "approve", uri)

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")
    assert "Not a valid device link" in done.err


def test_codes_that_cannot_be_read_are_named(cli: CliRunner) -> None:
    done = cli.run_client("eve", "register", unused_number(), "--codes", str(cli.home), "--url", cli.node.url)

    assert (done.code, done.out) == (Exit.FAILED, "")
    assert f"Cannot read the one-time codes in {cli.home}" in done.err


def test_an_empty_text_is_no_message(cli: CliRunner) -> None:
    done = cli.run_client("ann", "send", cli.variables["BO"], "  ")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")


def test_a_command_that_reads_makes_no_profile(cli: CliRunner) -> None:
    assert cli.run_client("nobody at all", "history", "@bo").code == Exit.NO_ACCOUNT
    assert not (cli.home / ".vyry/nobody at all").exists()


def run_with_input(cli: CliRunner, *words: str, typed: bytes) -> CliResult:
    """A command in a process of its own, with these bytes as standard input."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(cli.home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*COMMAND, *words], env=variables, input=typed, capture_output=True, check=False)
    return CliResult(done.returncode, done.stdout.decode(), done.stderr.decode())
