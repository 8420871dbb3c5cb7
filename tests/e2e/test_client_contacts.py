"""Contact links, and names: people add each other by a link, find each other by name, and nobody looks like another."""

from itertools import count
from pathlib import Path

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.cli_runner import CliRunner, refused
from vyry.cli.client.exit_codes import Exit
from vyry.signal_protocol.contact_links import ContactLink


pytestmark = pytest.mark.timeout(120)
_usernames = count(1)


@pytest.fixture
def terminal(all_in_one: AllInOneProcess, tmp_path: Path) -> CliRunner:
    return CliRunner(all_in_one, tmp_path)


def contact_link(terminal: CliRunner, profile: str) -> str:
    """The contact link of that device."""
    return str(terminal.run_client_json(profile, "contact")[0]["link"])


def test_an_added_contact_is_verified_and_found_by_the_given_name(terminal: CliRunner) -> None:
    _, bo = terminal.sign_up("ann"), terminal.sign_up("bo")
    link = contact_link(terminal, "bo")

    assert ContactLink.read(link).user_id.hex == bo.replace("-", "")
    added = terminal.run_client_json("ann", "add", link, "--name", "Bo Lee")
    assert added == [{"userId": bo, "name": "Bo Lee", "isVerified": True}]
    assert terminal.run_client("ann", "send", "bo lee", "hello").code == Exit.DONE
    assert terminal.run_client_json("ann", "safety", "Bo Lee")[0]["isVerified"] is True
    terminal.run_client_json("bo", "receive")
    ann = terminal.run_client_json("ann", "whoami")[0]["userId"]
    terminal.run_client_json("bo", "send", ann, "hello Ann")
    assert terminal.run_client("ann", "receive").out.splitlines()[-1] == "Bo Lee: hello Ann"
    assert "Bo Lee" in terminal.run_client("ann", "chats").out


def test_a_contact_link_of_another_key_is_refused_loudly_and_adds_nothing(terminal: CliRunner) -> None:
    _, bo = terminal.sign_up("ann"), terminal.sign_up("bo")
    link = contact_link(terminal, "bo")
    forged = f"{link[:-1]}{'0' if link[-1] != '0' else '1'}"

    done = terminal.run_client("ann", "add", forged, "--name", "Bo", "--json")

    assert (done.code, len(done.err.splitlines())) == (Exit.DECIDE, 1)
    assert "WARNING: the node reports another key" in done.err
    assert {key: done.json_objects[0][key] for key in ("decide", "userId")} == {
        "decide": "contactDiffers",
        "userId": bo,
    }
    assert terminal.run_client("ann", "whois", "Bo").code == Exit.NOT_FOUND
    assert terminal.run_client_json("ann", "safety", bo)[0]["isVerified"] is False


def test_a_contact_link_that_is_cut_or_ones_own_says_what_to_do(terminal: CliRunner) -> None:
    terminal.sign_up("ann")
    link = contact_link(terminal, "ann")

    refused(terminal.run_client("ann", "add", link[:-2]), Exit.WRONG_LINE, "Not a contact link: copy all of it")
    refused(terminal.run_client("ann", "add", link), Exit.WRONG_LINE, "This is your own contact link")
    refused(terminal.run_client("ann", "add", "@nobody"), Exit.WRONG_LINE, "--name NAME")


def test_a_name_that_two_users_have_is_refused_with_both(terminal: CliRunner) -> None:
    terminal.sign_up("ann")
    links = [(terminal.sign_up(each), contact_link(terminal, each)) for each in ("bo", "other bo".replace(" ", "_"))]
    for _, link in links:
        terminal.run_client_json("ann", "add", link, "--name", "Bo")

    done = terminal.run_client("ann", "send", "bo", "hello", "--json")

    assert done.code == Exit.WRONG_LINE
    assert sorted(done.json_objects[0]["candidates"]) == sorted(user_id for user_id, _ in links)
    assert all(user_id in done.err for user_id, _ in links)
    shown = terminal.run_client("ann", "add", links[0][0], "--name", "Bo").out
    assert f"Added Bo ({links[0][0][-8:]})" in shown


def test_a_chosen_name_is_in_quotes_until_it_is_used_and_never_looks_like_a_given_one(terminal: CliRunner) -> None:
    ann = terminal.sign_up("ann")
    bo, eve, cy = (terminal.sign_up(each) for each in ("bo", "eve", "cy"))
    terminal.run_client_json("ann", "add", contact_link(terminal, "bo"), "--name", "Bo")
    terminal.run_client_json("eve", "profile", "--sealed-name", "Bo")
    terminal.run_client_json("cy", "profile", "--sealed-name", "Cy")
    for each in ("bo", "eve", "cy"):
        terminal.run_client_json(each, "send", ann, "it is me")

    heard = [line for line in terminal.run_client("ann", "receive").out.splitlines() if line.endswith("it is me")]

    assert heard == ["Bo: it is me", f'"Bo" ({eve[-8:]}): it is me', '"Cy": it is me']
    assert terminal.run_client("ann", "send", "cy", "hello Cy").code == Exit.DONE
    assert terminal.run_client_json("ann", "whois", "Cy")[0]["userId"] == cy
    assert terminal.run_client_json("ann", "whois", "Bo")[0]["userId"] == bo
    assert "direct  Cy" in terminal.run_client("ann", "chats").out


def test_a_chosen_name_that_is_the_username_of_another_is_not_guessed(terminal: CliRunner) -> None:
    ann, eve, bo = (terminal.sign_up(each) for each in ("ann", "eve", "bo"))
    name = f"bo_contact_{next(_usernames)}"
    terminal.run_client_json("bo", "profile", "--username", name)
    terminal.run_client_json("eve", "profile", "--sealed-name", name)
    terminal.run_client_json("eve", "send", ann, "hello")
    terminal.run_client("ann", "receive")

    done = terminal.run_client("ann", "send", name, "secret", "--json")

    assert done.code == Exit.WRONG_LINE
    assert sorted(done.json_objects[0]["candidates"]) == sorted([eve, bo])


def test_a_given_name_that_reads_like_an_address_is_refused(terminal: CliRunner) -> None:
    terminal.sign_up("ann")
    bo = terminal.sign_up("bo")

    for name in ("@bo", "+491512345678", bo, "https://node.example", "=bo"):
        refused(terminal.run_client("ann", "add", bo, "--name", name), Exit.WRONG_LINE, "reads like")
    refused(terminal.run_client("ann", "add", bo, "--name", "x" * 41), Exit.FAILED, "at most 40 characters")


def test_a_number_is_masked_and_an_account_without_a_name_is_its_first_digits(terminal: CliRunner) -> None:
    ann, bo = terminal.sign_up("ann"), terminal.sign_up("bo")
    terminal.run_client_json("bo", "send", ann, "first")
    assert terminal.run_client("ann", "receive").out.splitlines()[-1] == f"{bo[:8]} ({bo[-8:]}): first"

    number = "+491512399901"
    cy = terminal.sign_up("cy", number)
    terminal.run_client_json("ann", "send", "+49 (0) 1512-399901", "hello")
    terminal.run_client_json("cy", "receive")
    terminal.run_client_json("cy", "send", ann, "second")

    assert terminal.run_client("ann", "receive").out.splitlines()[-1] == "+49…9901: second"
    assert terminal.run_client("ann", "whois", number).out == f"{cy}  {number}\n"
