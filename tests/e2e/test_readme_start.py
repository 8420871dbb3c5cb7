"""The first block of the README as it is printed: from nothing to a message in both directions, with no number, no id and no code to copy."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliResult, CliRunner, refused
from vyry.cli.client.exit_codes import Exit


pytestmark = pytest.mark.timeout(180)
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LINK = re.compile(r"https?://\S+#invite=\S+")


@pytest.fixture(scope="module")
def node() -> Iterator[AllInOneProcess]:
    """What `make start` runs, on an empty database."""
    members = re.findall(r"VYRY_MEMBER_INVITES:-(\d+)", MAKEFILE)[0]
    with AllInOneProcess({"VYRY_MEMBER_INVITES": members}) as started:
        yield started


@pytest.fixture
def terminal(node: AllInOneProcess, tmp_path: Path) -> CliRunner:
    return CliRunner(node, tmp_path)


def printed_invitation(node: AllInOneProcess) -> str:
    """The link in the banner, which is printed when the node serves."""
    deadline = time.monotonic() + 60
    while not (found := LINK.findall(node._log().read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    return str(found[0])


def test_the_first_block_of_the_readme_works_as_printed(terminal: CliRunner) -> None:
    first, *lines = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0].splitlines()
    link, said = printed_invitation(terminal.node), []
    assert first == "make start"

    for line in lines:
        program, *words = line.split(maxsplit=1)
        assert program == ".venv/bin/vyry"
        done = terminal.run_documented_line(f"vyry {words[0].replace('LINK', link)}")
        assert (done.code, done.err) == (0, ""), (line, done)
        link = (LINK.findall(done.out) or [link])[0]
        said.append(done.out)

    joined, _, bo_joined, _, ann_reads, _, bo_reads = said
    assert re.search(r"Recovery code: (\w{4}-){7}\w{4}\n", joined)
    assert "Ann invited you (safety number verified). To write, run: vyry client send Ann TEXT" in bo_joined
    assert '"Bo": Hello Ann, the node cannot read this.\n' in ann_reads
    assert "Ann: Hello Bo, nor this.\n" in bo_reads


def test_a_used_invitation_and_a_cut_link_say_so(terminal: CliRunner, node: AllInOneProcess) -> None:
    known = ("--url", node.url)

    refused(terminal.run_client("eve", "join", "A" * 22, *known), Exit.NOT_FOUND, "NOT_FOUND")
    refused(terminal.run_client("eve", "join", f"{node.url}/#invite=", *known), Exit.WRONG_LINE, "Not an invitation")


def test_an_account_without_a_number_is_recovered_once_by_its_code_and_deleted_by_the_next(
    terminal: CliRunner, node: AllInOneProcess, tmp_path: Path
) -> None:
    host = CliRunner(node, tmp_path / "host")
    host.sign_up("host")
    link = host.run_client_json("host", "invite")[0]["link"]
    ann = terminal.run_client_json("ann", "join", link, "--name", "Ann", "--username", "ann_recovers")[0]
    code, wrong = ann["recoveryCode"], f"{ann['recoveryCode'][:-1]}{'0' if ann['recoveryCode'][-1] != '0' else '1'}"
    known = ("--url", node.url)

    mistyped = terminal.run_client("new", "recover", "@ann_recovers", *known, typed=f"{wrong}\n")
    assert (mistyped.code, "a character is mistyped" in mistyped.err) == (Exit.FAILED, True)
    done = terminal.run_client("new", "recover", "@ann_recovers", *known, "--json", typed=f" {code.lower()} \n")
    found = done.json_objects[0]
    assert (done.code, found["userId"]) == (0, ann["userId"])
    assert found["recoveryCode"] != code
    assert terminal.run_client("ann", "chats").code == Exit.NO_ACCOUNT

    (tmp_path / "code.txt").write_text(f"{found['recoveryCode']}\n")
    gone = terminal.run_client("new", "delete", "--yes", "--code-file", str(tmp_path / "code.txt"))
    assert (gone.code, gone.out) == (0, "The account is deleted.\n")


def test_a_lost_answer_does_not_burn_the_invitation(terminal: CliRunner, node: AllInOneProcess, tmp_path: Path) -> None:
    host = CliRunner(node, tmp_path / "host")
    host.sign_up("host")
    link = host.run_client_json("host", "invite")[0]["link"]
    first: CliResult = terminal.run_client("bo", "join", link, "--json")

    again = terminal.run_client("bo", "join", link, "--yes", "--json")

    assert (first.code, again.code) == (0, 0), (first, again)
    assert first.json_objects[0]["userId"] == again.json_objects[0]["userId"]
    assert first.json_objects[0]["inviterId"] == host.run_client_json("host", "whoami")[0]["userId"]
