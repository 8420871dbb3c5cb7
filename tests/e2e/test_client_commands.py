"""`vyry client` against a real node: what people and scripts get to see, and how each kind of failure ends."""

import fcntl
import json
import resource
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.cli_runner import CliRunner, refused
from tests.support.rest_device import unused_number
from vyry.cli.client.exit_codes import Exit


NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def cli(all_in_one: AllInOneProcess, tmp_path_factory: pytest.TempPathFactory) -> CliRunner:
    """A terminal with two people in it."""
    made = CliRunner(all_in_one, tmp_path_factory.mktemp("home"))
    made.variables = {"ANN": made.sign_up("ann"), "BO": made.sign_up("bo")}
    return made


def test_two_people_chat_in_words_and_in_json(cli: CliRunner) -> None:
    assert cli.run_client("ann", "send", cli.variables["BO"], "hello").out == "Sent.\n"
    assert cli.run_client("ann", "send", cli.variables["BO"], typed="from a pipe").out == "Sent.\n"
    told = cli.run_client_json("bo", "receive")

    assert [line["text"] for line in told if line["event"] == "message"] == ["hello", "from a pipe"]
    assert cli.run_client("bo", "receive").out == ""


def test_a_profile_remembers_its_node(cli: CliRunner) -> None:
    assert cli.run_client_json("ann", "whoami") == [{"userId": cli.variables["ANN"], "node": cli.node.url}]


def test_what_is_asked_of_an_empty_profile_says_to_register(cli: CliRunner) -> None:
    refused(cli.run_client("nobody", "whoami"), Exit.NO_ACCOUNT, "client register")


def test_a_node_that_is_away_is_named(cli: CliRunner) -> None:
    refused(cli.run_client("new", "register", "+491512345678", "--url", NOWHERE), Exit.NODE_AWAY, NOWHERE)


def test_what_the_node_refuses_ends_with_its_word(cli: CliRunner) -> None:
    nobody = cli.run_client("ann", "send", str(uuid4()), "hello")

    refused(nobody, Exit.NOT_FOUND, "NOT_FOUND")


def test_what_is_no_number_is_refused_before_the_node_is_asked(cli: CliRunner) -> None:
    refused(cli.run_client("new", "register", "12", "--url", NOWHERE), Exit.WRONG_LINE, "no country code")


def test_a_code_that_nobody_types_registers_nothing(cli: CliRunner) -> None:
    done = cli.run_client("new", "register", "+491512345678", "--url", cli.node.url)

    assert (done.code, done.out) == (Exit.FAILED, "")
    assert done.err.endswith("nothing was registered.\n")
    refused(cli.run_client("new", "whoami"), Exit.NO_ACCOUNT, "client register")


def test_a_profile_in_use_is_left_alone(cli: CliRunner) -> None:
    with (cli.home / ".vyry/ann/vyry.db.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(cli.run_client("ann", "whoami", "--timeout", "0.2"), Exit.STORE_LOCKED, "in use by another process")

    assert cli.run_client_json("ann", "whoami")[0]["userId"] == cli.variables["ANN"]


@pytest.mark.parametrize(("key", "mode"), [(b"\0" * 32, 0o600), (b"short", 0o600), (None, 0o644)])
def test_a_wrong_key_opens_nothing_and_breaks_nothing(cli: CliRunner, key: bytes | None, mode: int) -> None:
    file = cli.home / ".vyry/ann/key"
    right = file.read_bytes()
    file.write_bytes(right if key is None else key)
    file.chmod(mode)

    refused(cli.run_client("ann", "whoami"), Exit.STORE_LOCKED, "key")

    file.chmod(0o600)
    file.write_bytes(right)
    assert cli.run_client_json("ann", "whoami")[0]["userId"] == cli.variables["ANN"]


def test_a_wrong_command_line_ends_with_2(cli: CliRunner) -> None:
    done = cli.run_client("ann", "send")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")


def test_nothing_but_the_node_is_readable_in_a_profile(cli: CliRunner) -> None:
    folder: Path = cli.home / ".vyry/bo"

    assert json.loads(cli.run_client("bo", "whoami", "--json").out)["node"] == (folder / "node").read_text().strip()
    assert cli.variables["BO"].encode() not in (folder / "vyry.db").read_bytes()
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_what_was_said_is_answered_changed_and_taken_back_by_its_id(cli: CliRunner) -> None:
    ann, bo = cli.variables["ANN"], cli.variables["BO"]
    said = cli.run_client_json("ann", "send", bo, "helo")[0]
    cli.run_client_json("ann", "edit", bo, said["id"], "hello")
    cli.run_client_json("bo", "receive")
    cli.run_client_json("bo", "react", said["conversationId"], said["id"], "+1")
    answer = cli.run_client_json("bo", "send", ann, "hi", "--reply-to", said["id"])[0]
    cli.run_client_json("bo", "unsend", ann, answer["id"])

    heard = [
        line for line in cli.run_client_json("ann", "receive") if line["event"] in ("reaction", "message", "unsend")
    ]

    target = {"id": said["id"], "senderId": ann}
    assert [line["event"] for line in heard] == ["reaction", "message", "unsend"]
    assert (heard[0]["target"], heard[0]["emoji"], heard[1]["replyTo"]) == (target, "+1", target)
    assert [line["event"] for line in cli.run_client_json("ann", "history", bo, "--limit", "3")] == [
        line["event"] for line in heard
    ]


def test_a_message_that_nobody_knows_is_not_found(cli: CliRunner) -> None:
    refused(cli.run_client("ann", "react", cli.variables["BO"], str(uuid4()), "+1"), Exit.NOT_FOUND, "has no message")


def test_people_are_found_by_name_and_by_number(cli: CliRunner) -> None:
    number = unused_number()
    cleo = cli.sign_up("cleo", number)
    cli.run_client_json("cleo", "profile", "--username", f"cleo_{cleo[-12:]}", "--name", "Cleo")

    by_name = cli.run_client_json("ann", "send", f"@cleo_{cleo[-12:]}", "by name")[0]
    by_number = cli.run_client_json("ann", "send", number, "by number")[0]
    chats = cli.run_client("ann", "chats").out

    assert by_name["conversationId"] == by_number["conversationId"]
    assert f"{by_name['conversationId']}  direct  @cleo_{cleo[-12:]}\n" in chats
    refused(cli.run_client("ann", "send", "@no_such_person", "x"), Exit.NOT_FOUND, "NOT_FOUND")
    refused(cli.run_client("ann", "send", unused_number(), "x"), Exit.NOT_FOUND, "was found")


def test_friends_are_asked_and_blocked_people_are_gone(cli: CliRunner) -> None:
    dan = cli.sign_up("dan")
    bo = cli.variables["BO"]
    assert cli.run_client_json("dan", "friends", "add", bo) == [{"userId": bo, "status": "requested"}]
    assert cli.run_client_json("bo", "friends", "requests")[0]["direction"] == "incoming"
    assert cli.run_client_json("bo", "friends", "add", dan) == [{"userId": dan, "status": "friends"}]
    assert [each["userId"] for each in cli.run_client_json("dan", "friends", "list")] == [bo]

    cli.run_client_json("bo", "friends", "block", dan)

    refused(cli.run_client("dan", "send", bo, "hello?"), Exit.NOT_FOUND, "NOT_FOUND")
    assert cli.run_client_json("dan", "friends", "list") == []
    assert [each["userId"] for each in cli.run_client_json("bo", "friends", "blocks")] == [dan]


def test_a_passphrase_opens_its_profile_and_nothing_else_does(cli: CliRunner, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    known = ("--codes", str(cli.node.otp_file), "--url", cli.node.url)
    me = cli.run_client_json("gil", "register", unused_number(), *known, "--passphrase-file", str(right))[0]["userId"]

    refused(cli.run_client("gil", "whoami"), Exit.STORE_LOCKED, "passphrase")
    refused(cli.run_client("gil", "whoami", "--passphrase-file", str(wrong)), Exit.STORE_LOCKED, "is wrong")
    refused(cli.run_client("gil", "whoami", "--passphrase-file", f"{tmp_path}/none"), Exit.STORE_LOCKED, "passphrase")
    assert cli.run_client_json("gil", "whoami", "--passphrase-file", str(right))[0]["userId"] == me


def test_what_the_node_knows_is_exported_once_and_for_the_owner_alone(cli: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    cli.run_client_json("bo", "export", str(file))

    assert json.loads(file.read_bytes())["account"]["userId"] == cli.variables["BO"]
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    refused(cli.run_client("bo", "export", str(file)), Exit.FAILED, "File exists")


def test_a_pin_is_set_asked_for_and_removed(cli: CliRunner, tmp_path: Path) -> None:
    number, pin = unused_number(), tmp_path / "pin"
    pin.write_text("correct horse 7\n")
    cli.sign_up("ida", number)
    assert cli.run_client("ida", "pin", "show").out == "No PIN is set.\n"
    assert cli.run_client_json("ida", "pin", "set", "--lock", "--pin-file", str(pin))[0]["registrationLock"] is True
    known = ("register", number, "--codes", str(cli.node.otp_file), "--url", cli.node.url)

    wrong = cli.run_client("ida anew", *known, typed="battery staple\n")
    anew = cli.run_client("ida anew", *known, "--pin-file", str(pin))

    assert (wrong.code, wrong.out, anew.code) == (Exit.REFUSED, "", Exit.DONE), (wrong, anew)
    assert "INVALID_PIN" in wrong.err
    refused(
        cli.run_client("ida anew", "pin", "remove", "--pin-file", f"{tmp_path}/none"),
        Exit.FAILED,
        "Cannot read the PIN",
    )
    assert cli.run_client("ida anew", "pin", "remove", typed="correct horse 7\n").out == "No PIN is set.\n"


def test_what_was_read_is_told_to_who_said_it(cli: CliRunner) -> None:
    joe, kim = cli.sign_up("joe"), cli.sign_up("kim")
    said = cli.run_client_json("joe", "send", kim, "read me")[0]["id"]
    cli.run_client_json("kim", "receive")

    assert cli.run_client_json("kim", "read", joe)[0]["messages"] == 1

    told = [line for line in cli.run_client_json("joe", "receive") if line["event"] == "receipt"]
    assert ("read", [said]) in [(line["state"], line["targets"]) for line in told]


def test_a_device_that_logs_out_has_ended(cli: CliRunner) -> None:
    hal = cli.sign_up("hal")
    assert [each["isCurrent"] for each in cli.run_client_json("hal", "devices", "list")] == [True]
    assert cli.run_client_json("hal", "devices", "rename", "1", "the old laptop")[0]["name"] == "the old laptop"

    cli.run_client_json("hal", "logout", "--yes")

    refused(cli.run_client("hal", "devices", "list"), Exit.NO_ACCOUNT, "has removed this device")
    # The account has no device any more that could read it.
    refused(cli.run_client("ann", "send", hal, "hello?"), Exit.NOT_FOUND, "NOT_FOUND")


def test_a_disk_that_takes_no_more_is_named_and_the_profile_stays_whole(cli: CliRunner) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        done = cli.run_client("bo", "send", cli.variables["ANN"], "x" * 5_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    refused(done, Exit.STORE_FULL, "full")
    assert cli.run_client_json("bo", "send", cli.variables["ANN"], "there is room again")


def test_a_disk_that_is_full_while_mail_comes_keeps_it_on_the_node(cli: CliRunner) -> None:
    cli.run_client_json("ann", "send", cli.variables["BO"], "wait for room " + "x" * 20_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))
    try:
        done = cli.run_client("bo", "receive")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    refused(done, Exit.STORE_FULL, "full")
    assert any(line.get("text", "").startswith("wait for room") for line in cli.run_client_json("bo", "receive"))


@pytest.mark.parametrize("spoil", [lambda _: b"no database " * 1_000, lambda good: good[: len(good) // 2]])
def test_a_store_that_is_none_is_named_and_left_as_it_is(cli: CliRunner, spoil: Callable[[bytes], bytes]) -> None:
    lou = f"lou {uuid4()}"
    cli.sign_up(lou)
    file = cli.home / ".vyry" / lou / "vyry.db"
    good = file.read_bytes()
    file.write_bytes(spoil(good))

    refused(cli.run_client(lou, "chats"), Exit.FAILED, "cannot be used")
    assert file.read_bytes() == spoil(good)

    file.write_bytes(good)
    assert cli.run_client_json(lou, "chats") == []
