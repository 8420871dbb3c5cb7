"""`vyry client groups` against a real node, and titles wherever a conversation is named."""

from dataclasses import dataclass

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.cli_runner import CliRunner, refused
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(120)


@dataclass
class Trio:
    """A terminal with three people in it."""

    terminal: CliRunner
    ann: str
    bo: str
    cy: str

    def create(self, title: str, *who: str) -> str:
        """Ann's group; answers its id."""
        return str(self.terminal.run_client_json("ann", "groups", "create", title, *who)[0]["conversationId"])

    def titles(self, profile: str) -> dict[str, str | None]:
        """What somebody sees, by id."""
        return {each["conversationId"]: each["title"] for each in self.terminal.run_client_json(profile, "chats")}

    def texts(self, profile: str) -> list[str]:
        """What somebody hears now."""
        return [
            each["text"] for each in self.terminal.run_client_json(profile, "receive") if each["event"] == "message"
        ]


@pytest.fixture(scope="module")
def trio(all_in_one: AllInOneProcess, tmp_path_factory: pytest.TempPathFactory) -> Trio:
    terminal = CliRunner(all_in_one, tmp_path_factory.mktemp("home"))
    ann, *others = [terminal.sign_up(name) for name in ("ann", "bo", "cy")]
    for name, other in zip(("bo", "cy"), others, strict=True):
        terminal.run_client_json("ann", "friends", "add", other)
        terminal.run_client_json(name, "friends", "accept", ann)
    return Trio(terminal, ann, *others)


def test_a_group_is_found_by_its_title_and_by_its_id(trio: Trio) -> None:
    group = trio.create("Walks", trio.bo)

    assert trio.terminal.run_client("ann", "send", "walks", "by title").out == "Sent.\n"
    assert trio.terminal.run_client("bo", "send", group, "by id").out == "Sent.\n"

    assert trio.texts("bo") == ["by title"]
    assert [each["text"] for each in trio.terminal.run_client_json("ann", "history", "Walks")] == ["by title", "by id"]
    assert f'{group}  group   "Walks": {trio.bo[:8]} ({trio.bo[-8:]})\n' in trio.terminal.run_client("ann", "chats").out
    assert trio.titles("bo")[group] == "Walks"


def test_a_group_changes_from_the_command_line(trio: Trio) -> None:
    group, groups = trio.create("Runs"), ("groups",)
    said = trio.terminal.run_client_json

    assert said("ann", *groups, "add", "Runs", trio.bo) == [{"conversationId": group, "userIds": [trio.bo]}]
    said("ann", *groups, "role", "Runs", trio.bo, "admin")
    token = said("bo", *groups, "invite", "Runs", "--uses", "1", "--seconds", "60")[0]["url"]
    assert said("cy", *groups, "join", token) == [{"conversationId": group}]
    assert trio.titles("cy")[group] is None
    said("ann", *groups, "rename", "Runs", "Swims")
    assert trio.titles("cy")[group] == "Swims"
    assert {each["userId"]: each["role"] for each in said("cy", *groups, "members", group)} == {
        trio.ann: "admin",
        trio.bo: "admin",
        trio.cy: "member",
    }
    said("bo", *groups, "remove", group, trio.cy)
    said("ann", *groups, "leave", group, "--yes")
    assert group not in trio.titles("cy") | trio.titles("ann")
    assert (
        trio.terminal.run_client("bo", *groups, "members", "Swims").out == f"admin   {trio.bo[:8]} ({trio.bo[-8:]})\n"
    )


def test_what_cannot_be_done_to_a_group_is_one_line(trio: Trio) -> None:
    client = trio.terminal.run_client
    group = trio.create("Locked", trio.bo)

    refused(client("bo", "groups", "rename", group, "Mine"), Exit.REFUSED, "FORBIDDEN")
    refused(client("cy", "groups", "members", group), Exit.NOT_FOUND, "NOT_FOUND")
    refused(client("ann", "groups", "leave", group, "--yes"), Exit.REFUSED, "LAST_ADMIN")
    refused(client("ann", "groups", "members", "No such title"), Exit.NOT_FOUND, "No group has the title")
    refused(client("cy", "groups", "join", "no-such-token"), Exit.NOT_FOUND, "NOT_FOUND")
    refused(client("ann", "groups", "create", " "), Exit.FAILED, "title: has no visible characters")
    assert client("ann", "groups", "invite", group, "--uses", "0").code == Exit.WRONG_LINE
    assert client("ann", "groups", "role", group, trio.bo, "owner").code == Exit.WRONG_LINE


def test_a_title_takes_the_place_of_nobody(trio: Trio) -> None:
    client = trio.terminal.run_client
    trio.terminal.run_client_json("bo", "profile", "--username", "bo_of_the_trio")
    for _ in range(2):
        trio.create("Twice")
    trio.create("bo_of_the_trio", trio.cy)

    refused(client("ann", "send", "bo_of_the_trio", "secret"), Exit.WRONG_LINE, "use @bo_of_the_trio")
    refused(client("ann", "send", "Twice", "hello"), Exit.WRONG_LINE, "2 groups have the title Twice")
    assert client("ann", "send", "@bo_of_the_trio", "for Bo alone").code == Exit.DONE
    assert trio.texts("bo")[-1] == "for Bo alone"
    assert "for Bo alone" not in trio.texts("cy")


def test_a_stranger_is_invited_and_comes_in_by_accepting(trio: Trio) -> None:
    terminal = trio.terminal
    eve = terminal.sign_up("eve_of_the_trio")
    made = terminal.run_client("ann", "groups", "create", "Strangers", eve)
    group, chosen = made.out.split()[3].rstrip("."), "eve_of_the_trio"

    waiting = terminal.run_client_json(chosen, "groups", "invitations")
    again = terminal.run_client("ann", "groups", "add", group, eve)
    accepted = terminal.run_client(chosen, "groups", "accept", group)
    declined = terminal.run_client(chosen, "groups", "decline", group)

    assert "Invited instead" in made.out
    assert [(each["conversationId"], each["userId"]) for each in waiting] == [(group, trio.ann)]
    assert again.out.startswith("No member was added. Invited")
    assert (accepted.code, group in trio.titles(chosen)) == (Exit.DONE, True)
    refused(declined, Exit.NOT_FOUND, "NOT_FOUND")
