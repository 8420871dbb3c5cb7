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
def taken(alone: AllInOneProcess, tmp_path: Path) -> UsernameTakeover:
    terminal, name = CliRunner(alone, tmp_path), f"bo_lee_{next(_numbers)}"
    _, bo, eve = (terminal.sign_up(each) for each in ("ann", "bo", "eve"))
    terminal.run_client_json("bo", "profile", "--username", name)
    terminal.run_client_json("ann", "send", f"@{name}", "hello")
    terminal.run_client_json("bo", "receive")
    terminal.run_client_json("bo", "profile", "--username", f"{name}_new")
    forget_resting_names(alone)
    terminal.run_client_json("eve", "profile", "--username", name)
    return UsernameTakeover(terminal, f"@{name}", bo, eve)


def test_a_name_that_was_taken_over_still_reaches_the_first_account(taken: UsernameTakeover) -> None:
    for word in (taken.name, taken.name.upper(), taken.name.removeprefix("@")):
        assert taken.ann("send", word, "for Bo alone").code == Exit.DONE

    assert taken.texts("bo") == ["for Bo alone"] * 3
    assert taken.texts("eve") == []


def test_asking_again_stops_at_another_account_and_changes_nothing(taken: UsernameTakeover) -> None:
    asked = taken.ann("whois", taken.name, "--refresh")

    assert (asked.code, asked.out, len(asked.err.splitlines())) == (Exit.DECIDE, "", 1)
    assert f"another account for {taken.name}" in asked.err
    assert f"vyry client whois {taken.name} --take {taken.eve}" in asked.err
    assert taken.ann("whois", taken.name).out == f"{taken.bo}  {taken.name}\n"
    assert taken.ann("send", taken.name, "still for Bo").code == Exit.DONE
    assert taken.texts("bo") == ["still for Bo"]


def test_programs_read_what_a_person_has_to_decide(taken: UsernameTakeover) -> None:
    asked = taken.ann("whois", taken.name, "--refresh", "--json")

    (told,) = asked.json_objects
    assert asked.code == Exit.DECIDE
    assert f"vyry: {told.pop('error')}\n" == asked.err
    assert told == {"decide": "nameChanged", "name": taken.name, "userId": taken.bo, "newUserId": taken.eve}


def test_once_a_person_takes_the_other_account_the_name_reaches_that(taken: UsernameTakeover) -> None:
    told = taken.terminal.run_client_json("ann", "whois", taken.name, "--take", taken.eve)

    assert told == [{"userId": taken.eve, "names": [taken.name]}]
    assert taken.ann("whois", taken.name, "--refresh").code == Exit.DONE
    taken.ann("send", taken.name, "for Eve now")
    assert (taken.texts("eve"), taken.texts("bo")) == (["for Eve now"], [])
    assert taken.ann("whois", taken.bo, "--take", taken.eve).code == Exit.WRONG_LINE


def test_who_took_a_name_does_not_look_like_who_had_it(taken: UsernameTakeover) -> None:
    ann = taken.terminal.run_client_json("ann", "whoami")[0]["userId"]
    taken.terminal.run_client_json("bo", "send", ann, "it is me")
    taken.terminal.run_client_json("eve", "send", ann, f"me\n{taken.name}: me too")

    heard, chats = taken.ann("receive").out, taken.ann("chats").out

    other = f"another {taken.name} ({taken.eve[-8:]})"
    lines = [f"{taken.name}: it is me", f"{other}: me", f"  {taken.name}: me too"]
    assert [line for line in heard.splitlines() if "me" in line.split(": ")[-1]] == lines
    assert sorted(line.split("direct  ")[1] for line in chats.splitlines()) == sorted([taken.name, other])


def test_lists_and_profiles_mark_who_took_a_name_too(taken: UsernameTakeover) -> None:
    ann = taken.terminal.run_client_json("ann", "whoami")[0]["userId"]
    taken.terminal.run_client_json("eve", "profile", "--bio", f"words\nusername     {taken.name[1:]}")
    taken.terminal.run_client_json("eve", "friends", "add", ann)
    taken.terminal.run_client_json("eve", "send", ann, "hello")
    other = f"another {taken.name} ({taken.eve[-8:]})"

    assert taken.ann("friends", "requests").out == f"{taken.eve}  {other} (received)\n"
    told = taken.ann("profile", taken.eve).out.splitlines()
    assert [line for line in told if line.startswith("username")] == [f"username     {other}"]


def test_ones_own_account_is_called_what_it_is_called_now(taken: UsernameTakeover) -> None:
    own, new = f"ann_{taken.name[1:]}", f"new_{taken.name[1:]}"
    taken.terminal.run_client_json("ann", "profile", "--username", own)
    taken.terminal.run_client_json("ann", "whois", own)
    taken.terminal.run_client_json("ann", "profile", "--username", new)
    taken.terminal.run_client_json("ann", "groups", "create", f"Alone {own}")

    assert taken.ann("groups", "members", f"Alone {own}").out == f"admin   @{new}\n"


def test_a_name_that_somebody_chose_is_in_quotes(taken: UsernameTakeover) -> None:
    ann, cy = taken.terminal.run_client_json("ann", "whoami")[0]["userId"], taken.terminal.sign_up("cy")
    taken.terminal.run_client_json("cy", "profile", "--name", taken.name)
    taken.terminal.run_client_json("cy", "send", ann, "believe me")

    assert f'"{taken.name}" ({cy[-8:]}): believe me\n' in taken.ann("receive").out


def test_a_group_takes_no_remembered_name_even_when_the_node_hides_it(taken: UsernameTakeover) -> None:
    bare = taken.name.removeprefix("@")
    taken.terminal.run_client_json("eve", "profile", "--username", f"{bare}_gone")
    taken.terminal.run_client_json("ann", "groups", "create", bare, taken.eve)

    done = taken.ann("send", bare, "secret")

    assert (done.code, done.out) == (Exit.FAILED, "")
    assert f"use {taken.name}" in done.err


def test_a_remembered_name_is_not_asked_for(taken: UsernameTakeover) -> None:
    """Neither its owner nor another one has it any more: mail still goes to the account."""
    taken.terminal.run_client_json("eve", "profile", "--username", f"{taken.name[1:]}_gone")

    assert taken.ann("send", taken.name, "hello again").code == Exit.DONE
    assert taken.ann("whois", taken.name, "--refresh").code == Exit.NOT_FOUND
    assert taken.texts("bo") == ["hello again"]


def test_programs_of_the_sdk_remember_names_and_numbers(taken: UsernameTakeover) -> None:
    number, folder = unused_number(), taken.terminal.home / ".vyry" / "ann"
    cy, spaced = UUID(taken.terminal.sign_up("cy", number)), f"{number[:3]} {number[3:6]}-{number[6:]}"

    async def act() -> None:
        async with Client.open(Profile(folder, taken.terminal.node.url)) as ann:
            assert await ann.people.resolve(spaced) == await ann.people.resolve(number, refresh=True) == cy
            assert ann.people.names.of(cy) == (number,)
            assert await ann.people.resolve(taken.name) == UUID(taken.bo)
            with pytest.raises(NobodyFound):
                await ann.people.resolve(unused_number())
            with pytest.raises(NameChanged):
                await ann.people.resolve(taken.name, refresh=True)
            ann.people.remember(taken.name, UUID(taken.eve))
            assert await ann.people.resolve(taken.name, refresh=True) == UUID(taken.eve)

    asyncio.run(act())
