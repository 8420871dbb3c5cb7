"""`vyry client` against a real node: what people and scripts get to see, and how each kind of failure ends."""

import fcntl
import json
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.nodes import Alone
from tests.client_shell import Run, Terminal
from vyry.cli.client.exits import Exit


NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def here(alone: Alone, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal with two people in it."""
    made = Terminal(alone, tmp_path_factory.mktemp("home"))
    made.variables = {"ANN": made.sign_up("ann"), "BO": made.sign_up("bo")}
    return made


def refused(done: Run, code: Exit, word: str) -> None:
    """One line on standard error, nothing on standard output, and the code of that kind."""
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1), done
    assert word in done.err


def test_two_people_chat_in_words_and_in_json(here: Terminal) -> None:
    assert here.client("ann", "send", here.variables["BO"], "hello").out == "Sent.\n"
    assert here.client("ann", "send", here.variables["BO"], typed="from a pipe").out == "Sent.\n"
    told = here.told("bo", "receive")

    assert [line["text"] for line in told if line["event"] == "message"] == ["hello", "from a pipe"]
    assert here.client("bo", "receive").out == ""


def test_a_profile_remembers_its_node(here: Terminal) -> None:
    assert here.told("ann", "whoami") == [{"userId": here.variables["ANN"], "node": here.node.url}]


def test_what_is_asked_of_an_empty_profile_says_to_register(here: Terminal) -> None:
    refused(here.client("nobody", "whoami"), Exit.NO_ACCOUNT, "register first")


def test_a_node_that_is_away_is_named(here: Terminal) -> None:
    refused(here.client("new", "register", "+491512345678", "--url", NOWHERE), Exit.NODE_AWAY, NOWHERE)


def test_what_the_node_refuses_ends_with_its_word(here: Terminal) -> None:
    nobody = here.client("ann", "send", str(uuid4()), "hello")
    no_number = here.client("new", "register", "12", "--url", here.node.url)

    refused(nobody, Exit.NOT_FOUND, "NOT_FOUND")
    refused(no_number, Exit.REFUSED, "INVALID")


def test_a_code_that_nobody_types_registers_nothing(here: Terminal) -> None:
    done = here.client("new", "register", "+491512345678", "--url", here.node.url)

    assert (done.code, done.out) == (Exit.FAILED, "")
    assert done.err.endswith("nothing was registered.\n")
    refused(here.client("new", "whoami"), Exit.NO_ACCOUNT, "register first")


def test_a_profile_in_use_is_left_alone(here: Terminal) -> None:
    with (here.home / ".vyry/ann/vyry.db.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(here.client("ann", "whoami"), Exit.STORE_LOCKED, "Another process")

    assert here.told("ann", "whoami")[0]["userId"] == here.variables["ANN"]


@pytest.mark.parametrize(("key", "mode"), [(b"\0" * 32, 0o600), (b"short", 0o600), (None, 0o644)])
def test_a_wrong_key_opens_nothing_and_breaks_nothing(here: Terminal, key: bytes | None, mode: int) -> None:
    file = here.home / ".vyry/ann/key"
    right = file.read_bytes()
    file.write_bytes(right if key is None else key)
    file.chmod(mode)

    refused(here.client("ann", "whoami"), Exit.STORE_LOCKED, "key")

    file.chmod(0o600)
    file.write_bytes(right)
    assert here.told("ann", "whoami")[0]["userId"] == here.variables["ANN"]


def test_a_wrong_command_line_ends_with_2(here: Terminal) -> None:
    done = here.client("ann", "send", "nobody", "hello")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")


def test_nothing_but_the_node_is_readable_in_a_profile(here: Terminal) -> None:
    folder: Path = here.home / ".vyry/bo"

    assert json.loads(here.client("bo", "whoami", "--json").out)["node"] == (folder / "node").read_text().strip()
    assert here.variables["BO"].encode() not in (folder / "vyry.db").read_bytes()
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
