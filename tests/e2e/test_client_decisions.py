"""What a person has to decide, at the command line: numbers that are compared, keys that changed, and what waits for that."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.e2e.test_client_chat_decisions import add_member
from tests.support.cli_runner import CliRunner, refused
from tests.support.rest_device import unused_number
from tests.support.sdk_clients import open_client
from vyry.cli.client.exit_codes import Exit
from vyry.cli.client.safety_numbers import NEW_NUMBER_TITLE, OLD_NUMBER_TITLE


pytestmark = pytest.mark.timeout(120)
WRONG = "0" * 60


@pytest.fixture
def cli(all_in_one: AllInOneProcess, tmp_path: Path) -> CliRunner:
    """A terminal with Ann in it, and Fay, whose number is FAY'S NUMBER; they have written to each other."""
    made = CliRunner(all_in_one, tmp_path)
    number = unused_number()
    made.variables = {"ANN": made.sign_up("ann"), "FAY": made.sign_up("fay", number), "FAY'S NUMBER": number}
    made.run_client_json("ann", "send", made.variables["FAY"], "hello")
    made.run_client_json("fay", "receive")
    return made


def change_key(cli: CliRunner) -> None:
    """Fay signs up on another device."""
    assert cli.sign_up("fay anew", cli.variables["FAY'S NUMBER"]) == cli.variables["FAY"]


def number(cli: CliRunner, profile: str, of: str) -> str:
    return str(cli.run_client_json(profile, "safety", cli.variables[of])[0]["safetyNumber"])


def spaced(digits: str) -> list[str]:
    """Words of five digits, as people read them."""
    return [digits[at : at + 5] for at in range(0, 60, 5)]


def test_a_number_is_noted_as_compared_by_the_digits_that_the_other_side_shows(cli: CliRunner) -> None:
    theirs, fay = number(cli, "fay", "ANN"), cli.variables["FAY"]
    before = cli.run_client("ann", "safety", fay)

    refused(cli.run_client("ann", "safety", fay, "--verify", WRONG), Exit.DECIDE, "digits do not match")
    refused(cli.run_client("ann", "safety", fay, "--verify", theirs[:-1]), Exit.DECIDE, "60 digits")
    refused(cli.run_client("ann", "safety", fay, theirs), Exit.WRONG_LINE, "--verify")
    assert cli.run_client_json("ann", "safety", fay)[0] == {"userId": fay, "safetyNumber": theirs, "isVerified": False}
    compared = cli.run_client_json("ann", "safety", fay, "--verify", *spaced(theirs))[0]

    assert compared == {"userId": fay, "safetyNumber": theirs, "isVerified": True}
    assert f"vyry client safety {fay} --verify --profile ann DIGITS" in before.out
    assert cli.run_client("ann", "safety", fay).out.splitlines()[-1] == "verified"


def test_without_digits_and_without_a_terminal_the_number_is_printed_and_nothing_noted(cli: CliRunner) -> None:
    fay = cli.variables["FAY"]

    done = cli.run_client("ann", "safety", fay, "--verify")
    told = cli.run_client("ann", "safety", fay, "--verify", "--json")

    assert (done.code, " ".join(spaced(number(cli, "fay", "ANN"))[:4]) in done.out) == (Exit.DECIDE, True)
    assert "add the 60 digits" in done.err
    assert (told.code, told.json_objects[0]["decide"], len(told.json_objects)) == (Exit.DECIDE, "notCompared", 1)
    assert told.json_objects[0]["safetyNumber"] == number(cli, "fay", "ANN")
    assert cli.run_client_json("ann", "safety", fay)[0]["isVerified"] is False


def test_on_a_terminal_the_digits_are_asked_for_before_the_number_is_shown(cli: CliRunner) -> None:
    theirs, words = number(cli, "fay", "ANN"), ("client", "safety", cli.variables["FAY"], "--verify")

    wrong = cli.run(*words, "--profile", "ann", typed=f"{WRONG}\n", is_person=True)
    right = cli.run(*words, "--profile", "ann", typed=f"{' '.join(spaced(theirs))}\n", is_person=True)

    assert (wrong.code, wrong.out) == (Exit.DECIDE, "")
    assert "Safety number shown to" in right.err
    assert (right.code, right.out.splitlines()[-1]) == (Exit.DONE, "verified")


def test_before_first_contact_the_compared_key_is_the_one_that_is_held(cli: CliRunner) -> None:
    gus_number = unused_number()
    gus = cli.variables["GUS"] = cli.sign_up("gus", gus_number)
    digits = number(cli, "gus", "ANN")
    assert cli.run_client_json("ann", "safety", gus)[0]["safetyNumber"] == digits
    assert cli.run_client_json("ann", "safety", gus, "--verify", digits)[0]["isVerified"] is True

    cli.sign_up("gus anew", gus_number)

    refused(cli.run_client("ann", "send", gus, "is it you?"), Exit.DECIDE, "has changed")


def test_what_waits_for_a_changed_key_is_kept_and_sent_once_it_is_accepted(cli: CliRunner) -> None:
    fay = cli.variables["FAY"]
    change_key(cli)
    refused(
        cli.run_client("ann", "send", fay, "is it you?"), Exit.DECIDE, f"safety {fay} --accept --profile ann DIGITS"
    )
    kept = cli.run_client("ann", "send", fay, "are you there?", "--json").json_objects[0]
    both = cli.run_client("ann", "safety", fay).out
    new = number(cli, "fay anew", "ANN")
    refused(cli.run_client("ann", "safety", fay, "--accept", WRONG), Exit.DECIDE, "do not match the new key")
    refused(cli.run_client("ann", "safety", fay, "--verify", new), Exit.DECIDE, "safety number of the new key")

    accepted = cli.run_client_json("ann", "safety", fay, "--accept", new)[0]

    received = [each["text"] for each in cli.run_client_json("fay anew", "receive") if each["event"] == "message"]
    assert "waits for you to decide" not in cli.run_client("ann", "receive").out
    assert (kept["decide"], kept["kept"]) == ("identityChanged", True)
    assert {"id", "conversationId", "error"} < kept.keys()
    assert OLD_NUMBER_TITLE in both and both.index(OLD_NUMBER_TITLE) < both.index(NEW_NUMBER_TITLE)  # noqa: PT018  one order of two lines
    assert received == ["is it you?", "are you there?"]
    assert accepted == {"userId": fay, "safetyNumber": new, "isVerified": False}


def test_conversations_show_what_is_to_be_decided_and_how_much_waits(cli: CliRunner) -> None:
    fay = cli.variables["FAY"]
    change_key(cli)
    for each in ("is it you?", "hello?"):
        assert cli.run_client("ann", "send", fay, each).code == Exit.DECIDE
    assert cli.run_client("fay anew", "send", cli.variables["ANN"], "a new telephone").code == Exit.DONE
    cli.run_client_json("ann", "receive")

    shown, told = cli.run_client("ann", "chats").out, cli.run_client_json("ann", "chats")[0]
    new = number(cli, "fay anew", "ANN")
    cli.run_client_json("ann", "safety", fay, "--accept", "--verify", new)
    after = cli.run_client_json("ann", "chats")[0]

    assert (
        f"decision needed: the key of {fay[:8]} ({fay[-8:]}) has changed; 2 messages are waiting to be sent; 1 message is waiting to be decrypted"
        in shown
    )
    assert (told["decide"], told["decideAbout"], told["waiting"], told["held"]) == ("identityChanged", [fay], 2, 1)
    assert "decide" not in after
    assert cli.run_client_json("ann", "safety", fay)[0]["isVerified"] is True
    assert [each["text"] for each in cli.run_client_json("ann", "history", fay)][-1] == "a new telephone"


def test_a_file_for_a_changed_key_waits_too(cli: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("some notes")
    change_key(cli)

    kept = cli.run_client("ann", "files", "send", cli.variables["FAY"], str(file), "--json")
    cli.run_client_json("ann", "safety", cli.variables["FAY"], "--accept", number(cli, "fay anew", "ANN"))

    assert (kept.code, kept.json_objects[0]["kept"]) == (Exit.DECIDE, True)
    assert cli.run_client_json("fay anew", "receive")[-1]["attachments"][0]["fileName"] == "notes.txt"


def test_nothing_is_to_be_decided_about_others(cli: CliRunner) -> None:
    hal = cli.sign_up("hal")
    change_key(cli)
    assert cli.run_client("ann", "send", cli.variables["FAY"], "is it you?").code == Exit.DECIDE

    assert cli.run_client("ann", "send", hal, "hello").out == "Sent.\n"
    assert {"decide" in each for each in cli.run_client_json("ann", "chats")} == {True, False}


async def test_what_is_said_in_a_forged_conversation_is_kept_and_named(cli: CliRunner) -> None:
    fay, eve = cli.variables["FAY"], await asyncio.to_thread(cli.sign_up, "eve")
    chat = (await asyncio.to_thread(cli.run_client_json, "ann", "chats"))[0]["conversationId"]
    add_member(cli.node, UUID(chat), UUID(eve))
    async with open_client(cli.node, cli.home / ".vyry/fay") as client:
        told = await client.conversations.get(UUID(chat))
        change = {"version": told["version"], "messageTimerSeconds": 86_400}
        await client._rest.call("PATCH", f"/conversations/{chat}", change)

    kept = await asyncio.to_thread(cli.run_client, "ann", "send", fay, "between us", "--json")
    shown = await asyncio.to_thread(cli.run_client, "ann", "chats")

    assert (kept.code, kept.json_objects[0]["decide"], kept.json_objects[0]["kept"]) == (
        Exit.DECIDE,
        "conversationForged",
        True,
    )
    assert "over another channel" in kept.err
    assert "than before; 1 message is waiting to be sent" in shown.out
    assert (fay[-8:] in shown.out, eve[-8:] in shown.out) == (True, False)
    assert not [
        each for each in await asyncio.to_thread(cli.run_client_json, "eve", "receive") if each["event"] == "message"
    ]
