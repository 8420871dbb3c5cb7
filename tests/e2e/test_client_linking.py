"""A second device of an account, linked by the SDK against a real node."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scripts.nodes import ROOT, AllInOneProcess
from tests.support.cli_runner import CliRunner
from tests.support.sdk_clients import link_clients, next_texts, open_client, register
from vyry.cli.client.exit_codes import Exit
from vyry.client.api.client import Client
from vyry.client.errors import CodeNotShown, LinkCode, LinkEnded, NotRegistered, Refused
from vyry.signal_protocol.linking import LinkOffer


pytestmark = pytest.mark.timeout(120)
COMMAND = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")


async def next_messages(client: Client, count: int) -> list[tuple[str, bool]]:
    """The next so many messages, and whether they are one's own."""
    found: list[tuple[str, bool]] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.name == "message":
                found.append((event.body["text"], event.body["isOwn"]))
            if len(found) == count:
                break
    return found


async def test_a_linked_device_writes_and_reads_like_the_first(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with (
        open_client(all_in_one, tmp_path / "ann") as ann,
        open_client(all_in_one, tmp_path / "laptop") as laptop,
        open_client(all_in_one, tmp_path / "bo") as bo,
    ):
        await register(ann, all_in_one)
        bo_id = await register(bo, all_in_one)
        codes = await link_clients(ann, laptop)

        assert codes[0] == codes[1]
        assert laptop.user_id == ann.user_id
        assert sorted(device["deviceId"] for device in await ann.devices.list()) == [1, 2]
        chat = await laptop.direct(bo_id)
        await laptop.send_text(chat, "from the laptop")
        assert await next_texts(bo, 1) == ["from the laptop"]
        await bo.send_text(chat, "to both")
        assert await next_texts(laptop, 1) == ["to both"]
        heard = await next_messages(ann, 2)
        assert heard == [("from the laptop", True), ("to both", False)]


async def test_a_device_that_is_rejected_stays_nobody(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "laptop") as laptop:
        await register(ann, all_in_one)
        attempt = await laptop.links.begin()
        await (await ann.links.scan(attempt.uri)).reject()

        with pytest.raises(LinkEnded):
            await attempt.code()
        with pytest.raises(NotRegistered):
            _ = laptop.user_id
        assert len(await ann.devices.list()) == 1


async def test_a_link_is_not_completed_before_its_code_was_shown(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "laptop") as laptop:
        await register(ann, all_in_one)
        attempt = await laptop.links.begin()
        await (await ann.links.scan(attempt.uri)).approve()

        with pytest.raises(CodeNotShown, match="six digits"):
            await attempt.complete()
        assert len(await ann.devices.list()) == 1


async def test_a_wrong_pin_may_be_followed_by_the_right_one(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "laptop") as laptop:
        await register(ann, all_in_one)
        await ann.account.set_pin("482913")
        attempt = await laptop.links.begin()
        scanned = await ann.links.scan(attempt.uri)
        assert scanned.matches(await attempt.code())

        with pytest.raises(Refused, match="INVALID_PIN"):
            await scanned.approve("482914")
        posted = scanned.sealed_provisioning(bytes)
        await scanned.approve("482913")

        # A text of its own would be sealed under the same key and nonce.
        assert scanned.sealed_provisioning(lambda: b"another text") == posted
        assert await attempt.complete() == laptop.user_id == ann.user_id


async def test_a_link_code_is_taken_for_no_invite_and_no_name(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "eve") as eve:
        await register(ann, all_in_one)
        uri = (await eve.links.begin()).uri

        for text in (uri, uri.upper(), uri.rpartition("/")[2]):
            with pytest.raises(LinkCode):
                await ann.groups.join(text)
            with pytest.raises(LinkCode):
                await ann.people.by_username(text)


@dataclass
class LinkProcess:
    """`vyry client link --json` in a process of its own, and `approve` of its code in another: the digits are on the screen of the first alone."""

    node: AllInOneProcess
    home: Path
    runs: ExitStack

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A command, with pipes for all that it reads and writes."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        command = (*COMMAND, "client", *words)
        return self.runs.enter_context(
            subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        )

    def linking(self) -> tuple["subprocess.Popen[str]", str]:
        """The new device, and its code for `approve`."""
        laptop = self.start("link", "--profile", "laptop", "--url", self.node.url, "--json")
        assert laptop.stdout is not None
        return laptop, json.loads(laptop.stdout.readline())["uri"]


@pytest.fixture
def laptop(all_in_one: AllInOneProcess, tmp_path: Path) -> Iterator[LinkProcess]:
    with ExitStack() as runs:
        yield LinkProcess(all_in_one, tmp_path, runs)


def next_json_line(run: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next line of a command with --json."""
    assert run.stdout is not None
    found: dict[str, Any] = json.loads(run.stdout.readline())
    return found


def test_two_terminals_link_a_laptop(all_in_one: AllInOneProcess, tmp_path: Path, laptop: LinkProcess) -> None:
    here = CliRunner(all_in_one, tmp_path)
    ann = here.sign_up("ann")
    new, uri = laptop.linking()
    approver = laptop.start("approve", uri, "--profile", "ann", "--json")
    code = next_json_line(new)["code"]

    said, asked = approver.communicate(f"{(int(code) + 1) % 10**6:06d}\n{code[:3]} {code[3:]}\n", timeout=30)

    assert (approver.returncode, json.loads(said)["approved"]) == (0, True)
    assert code not in asked
    assert "digits do not match" in asked
    assert next_json_line(new) == {"userId": ann}
    assert new.wait(30) == 0
    assert here.run_client_json("laptop", "whoami")[0]["userId"] == ann


@pytest.mark.parametrize(
    "typed", ["no\nyes\n\n", "", "yes\n"], ids=["three wrong ones", "nothing", "yes, and then nothing"]
)
def test_a_device_whose_digits_are_not_typed_is_not_let_in(
    all_in_one: AllInOneProcess, tmp_path: Path, laptop: LinkProcess, typed: str
) -> None:
    here = CliRunner(all_in_one, tmp_path)
    here.sign_up("ann")
    new, uri = laptop.linking()

    refused = here.run_client("ann", "approve", "-", typed=f"{uri}\n{typed}")

    _, said = new.communicate(timeout=30)
    assert "Enter the six digits that it shows" in refused.err
    assert refused.code == Exit.REFUSED
    assert new.returncode == Exit.REFUSED
    assert "was rejected" in said


def test_a_terminal_takes_no_link_code_for_an_invite(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    here = CliRunner(all_in_one, tmp_path)
    here.sign_up("ann")
    uri = LinkOffer(uuid4(), bytes(32), bytes(32)).uri()

    for words in (("groups", "join", uri), ("friends", "add", uri)):
        refused = here.run_client("ann", *words)

        assert refused.code == Exit.FAILED
        assert "device link code" in refused.err
        assert "approve" in refused.err
