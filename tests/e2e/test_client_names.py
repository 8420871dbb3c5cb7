"""A name is the account that it was the first time, whatever the node says later; a person alone changes that."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.cli_runner import CliResult, CliRunner
from tests.support.rest_device import unused_number
from vyry.cli.client.exit_codes import Exit
from vyry.client.api.client import Client, Profile
from vyry.client.errors import NameChanged, NobodyFound


pytestmark = pytest.mark.timeout(120)
_numbers = count(1)


@dataclass
class UsernameTakeover:
    """Ann has written to `name` when it was Bo's; then Bo gave it up, and Eve took it."""

    terminal: CliRunner
    name: str
    bo: str
    eve: str

    def ann(self, *words: str) -> CliResult:
        """What Ann types."""
        return self.terminal.run_client("ann", *words)

    def texts(self, profile: str) -> list[str]:
        """What somebody hears now."""
        return [
            each["text"] for each in self.terminal.run_client_json(profile, "receive") if each["event"] == "message"
        ]


def forget_resting_names(node: AllInOneProcess) -> None:
    """What an operator can do, or ninety days."""
    with closing(sqlite3.connect(node.folder / "data" / "vyry.db", timeout=10)) as database, database:
        database.execute("DELETE FROM resting_name")


@pytest.fixture
def takeover(all_in_one: AllInOneProcess, tmp_path: Path) -> UsernameTakeover:
    terminal, name = CliRunner(all_in_one, tmp_path), f"bo_lee_{next(_numbers)}"
    _, bo, eve = (terminal.sign_up(each) for each in ("ann", "bo", "eve"))
    terminal.run_client_json("bo", "profile", "--username", name)
    terminal.run_client_json("ann", "send", f"@{name}", "hello")
    terminal.run_client_json("bo", "receive")
    terminal.run_client_json("bo", "profile", "--username", f"{name}_new")
    forget_resting_names(all_in_one)
    terminal.run_client_json("eve", "profile", "--username", name)
    return UsernameTakeover(terminal, f"@{name}", bo, eve)


def test_a_name_that_was_taken_over_still_reaches_the_first_account(takeover: UsernameTakeover) -> None:
    for word in (takeover.name, takeover.name.upper(), takeover.name.removeprefix("@")):
        assert takeover.ann("send", word, "for Bo alone").code == Exit.DONE

    assert takeover.texts("bo") == ["for Bo alone"] * 3
    assert takeover.texts("eve") == []


def test_asking_again_stops_at_another_account_and_changes_nothing(takeover: UsernameTakeover) -> None:
    asked = takeover.ann("whois", takeover.name, "--refresh")

    assert (asked.code, asked.out, len(asked.err.splitlines())) == (Exit.DECIDE, "", 1)
    assert f"another account for {takeover.name}" in asked.err
    assert f"vyry client whois {takeover.name} --take {takeover.eve}" in asked.err
    assert takeover.ann("whois", takeover.name).out == f"{takeover.bo}  {takeover.name}\n"
    assert takeover.ann("send", takeover.name, "still for Bo").code == Exit.DONE
    assert takeover.texts("bo") == ["still for Bo"]


def test_programs_read_what_a_person_has_to_decide(takeover: UsernameTakeover) -> None:
    asked = takeover.ann("whois", takeover.name, "--refresh", "--json")

    (told,) = asked.json_objects
    assert asked.code == Exit.DECIDE
    assert f"vyry: {told.pop('error')}\n" == asked.err
    assert told == {"decide": "nameChanged", "name": takeover.name, "userId": takeover.bo, "newUserId": takeover.eve}


def test_once_a_person_takes_the_other_account_the_name_reaches_that(takeover: UsernameTakeover) -> None:
    told = takeover.terminal.run_client_json("ann", "whois", takeover.name, "--take", takeover.eve)

    assert told == [{"userId": takeover.eve, "names": [takeover.name]}]
    assert takeover.ann("whois", takeover.name, "--refresh").code == Exit.DONE
    takeover.ann("send", takeover.name, "for Eve now")
    assert (takeover.texts("eve"), takeover.texts("bo")) == (["for Eve now"], [])
    assert takeover.ann("whois", takeover.bo, "--take", takeover.eve).code == Exit.WRONG_LINE


def test_who_took_a_name_does_not_look_like_who_had_it(takeover: UsernameTakeover) -> None:
    ann = takeover.terminal.run_client_json("ann", "whoami")[0]["userId"]
    takeover.terminal.run_client_json("bo", "send", ann, "it is me")
    takeover.terminal.run_client_json("eve", "send", ann, f"me\n{takeover.name}: me too")

    heard, chats = takeover.ann("receive").out, takeover.ann("chats").out

    other = f"another {takeover.name} ({takeover.eve[-8:]})"
    lines = [f"{takeover.name}: it is me", f"{other}: me", f"  {takeover.name}: me too"]
    assert [line for line in heard.splitlines() if "me" in line.split(": ")[-1]] == lines
    assert sorted(line.split("direct  ")[1] for line in chats.splitlines()) == sorted([takeover.name, other])


def test_lists_and_profiles_mark_who_took_a_name_too(takeover: UsernameTakeover) -> None:
    ann = takeover.terminal.run_client_json("ann", "whoami")[0]["userId"]
    takeover.terminal.run_client_json("eve", "profile", "--bio", f"words\nusername     {takeover.name[1:]}")
    takeover.terminal.run_client_json("eve", "friends", "add", ann)
    takeover.terminal.run_client_json("eve", "send", ann, "hello")
    other = f"another {takeover.name} ({takeover.eve[-8:]})"

    assert takeover.ann("friends", "requests").out == f"{takeover.eve}  {other} (received)\n"
    told = takeover.ann("profile", takeover.eve).out.splitlines()
    assert [line for line in told if line.startswith("username")] == [f"username     {other}"]


def test_ones_own_account_is_called_what_it_is_called_now(takeover: UsernameTakeover) -> None:
    own, new = f"ann_{takeover.name[1:]}", f"new_{takeover.name[1:]}"
    takeover.terminal.run_client_json("ann", "profile", "--username", own)
    takeover.terminal.run_client_json("ann", "whois", own)
    takeover.terminal.run_client_json("ann", "profile", "--username", new)
    takeover.terminal.run_client_json("ann", "groups", "create", f"Alone {own}")

    assert takeover.ann("groups", "members", f"Alone {own}").out == f"admin   @{new}\n"


def test_a_name_that_somebody_chose_is_in_quotes(takeover: UsernameTakeover) -> None:
    ann, cy = takeover.terminal.run_client_json("ann", "whoami")[0]["userId"], takeover.terminal.sign_up("cy")
    takeover.terminal.run_client_json("cy", "profile", "--name", takeover.name)
    takeover.terminal.run_client_json("cy", "send", ann, "believe me")

    assert f'"{takeover.name}" ({cy[-8:]}): believe me\n' in takeover.ann("receive").out


def test_a_group_takes_no_remembered_name_even_when_the_node_hides_it(takeover: UsernameTakeover) -> None:
    bare = takeover.name.removeprefix("@")
    takeover.terminal.run_client_json("eve", "profile", "--username", f"{bare}_gone")
    takeover.terminal.run_client_json("ann", "groups", "create", bare, takeover.eve)

    done = takeover.ann("send", bare, "secret")

    assert (done.code, done.out) == (Exit.WRONG_LINE, "")
    assert f"use {takeover.name}" in done.err


def test_a_remembered_name_is_not_asked_for(takeover: UsernameTakeover) -> None:
    """Neither its owner nor another one has it any more: mail still goes to the account."""
    takeover.terminal.run_client_json("eve", "profile", "--username", f"{takeover.name[1:]}_gone")

    assert takeover.ann("send", takeover.name, "hello again").code == Exit.DONE
    assert takeover.ann("whois", takeover.name, "--refresh").code == Exit.NOT_FOUND
    assert takeover.texts("bo") == ["hello again"]


def test_programs_of_the_sdk_remember_names_and_numbers(takeover: UsernameTakeover) -> None:
    number, folder = unused_number(), takeover.terminal.home / ".vyry" / "ann"
    cy, spaced = UUID(takeover.terminal.sign_up("cy", number)), f"{number[:3]} {number[3:6]}-{number[6:]}"

    async def act() -> None:
        async with Client.open(Profile(folder, takeover.terminal.node.url)) as ann:
            assert await ann.people.resolve(spaced) == await ann.people.resolve(number, refresh=True) == cy
            assert ann.people.names.of(cy) == (number,)
            assert await ann.people.resolve(takeover.name) == UUID(takeover.bo)
            with pytest.raises(NobodyFound):
                await ann.people.resolve(unused_number())
            with pytest.raises(NameChanged):
                await ann.people.resolve(takeover.name, refresh=True)
            ann.people.remember(takeover.name, UUID(takeover.eve))
            assert await ann.people.resolve(takeover.name, refresh=True) == UUID(takeover.eve)

    asyncio.run(act())
