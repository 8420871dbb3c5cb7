"""A second device of an account, linked by the SDK against a real node."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.nodes import ROOT, Alone
from tests.client_shell import Terminal
from tests.e2e.test_sdk import open_at, register, texts
from vyry.cli.client.exits import Exit
from vyry.client.client import Client
from vyry.client.refusals import LinkEnded, NotRegistered


pytestmark = pytest.mark.timeout(120)
COMMAND = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")


async def link(device: Client, new: Client) -> tuple[str, str]:
    """The codes that both screens show; they were compared and found equal."""
    attempt = await new.links.begin("a laptop")
    scanned = await device.links.scan(attempt.uri)
    codes = scanned.code, await attempt.code()
    await scanned.approve()
    await attempt.complete()
    return codes


async def said(client: Client, count: int) -> list[tuple[str, bool]]:
    """The next so many messages, and whether they are one's own."""
    found: list[tuple[str, bool]] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            if event.name == "message":
                found.append((event.body["text"], event.body["isOwn"]))
            if len(found) == count:
                break
    return found


async def test_a_linked_device_writes_and_reads_like_the_first(alone: Alone, tmp_path: Path) -> None:
    async with (
        open_at(alone, tmp_path / "ann") as ann,
        open_at(alone, tmp_path / "laptop") as laptop,
        open_at(alone, tmp_path / "bo") as bo,
    ):
        await register(ann, alone)
        bo_id = await register(bo, alone)
        codes = await link(ann, laptop)

        assert codes[0] == codes[1]
        assert laptop.user_id == ann.user_id
        assert sorted(device["deviceId"] for device in await ann.devices.list()) == [1, 2]
        chat = await laptop.direct(bo_id)
        await laptop.send_text(chat, "from the laptop")
        assert await texts(bo, 1) == ["from the laptop"]
        await bo.send_text(chat, "to both")
        assert await texts(laptop, 1) == ["to both"]
        heard = await said(ann, 2)
        assert heard == [("from the laptop", True), ("to both", False)]


async def test_a_device_that_is_rejected_stays_nobody(alone: Alone, tmp_path: Path) -> None:
    async with open_at(alone, tmp_path / "ann") as ann, open_at(alone, tmp_path / "laptop") as laptop:
        await register(ann, alone)
        attempt = await laptop.links.begin()
        await (await ann.links.scan(attempt.uri)).reject()

        with pytest.raises(LinkEnded):
            await attempt.complete()
        with pytest.raises(NotRegistered):
            _ = laptop.user_id
        assert len(await ann.devices.list()) == 1


def test_two_terminals_link_a_laptop(alone: Alone, tmp_path: Path) -> None:
    here = Terminal(alone, tmp_path)
    ann = here.sign_up("ann")
    command = (*COMMAND, "client", "link", "--profile", "laptop", "--url", alone.url, "--json")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as laptop:
        assert laptop.stdout is not None
        uri = json.loads(laptop.stdout.readline())["uri"]

        done = here.client("ann", "approve", uri, "--json", typed="yes\n")

        assert done.code == 0, done
        assert json.loads(laptop.stdout.readline()) == {"code": done.objects[0]["code"]}
        assert json.loads(laptop.stdout.readline()) == {"userId": ann}
        assert laptop.wait(30) == 0
    assert here.told("laptop", "whoami")[0]["userId"] == ann


def test_a_device_that_shows_other_digits_is_not_let_in(alone: Alone, tmp_path: Path) -> None:
    here = Terminal(alone, tmp_path)
    here.sign_up("ann")
    command = (*COMMAND, "client", "link", "--profile", "laptop", "--url", alone.url)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as laptop:
        assert laptop.stdout is not None
        uri = laptop.stdout.readline().split("'")[1]

        refused = here.client("ann", "approve", "-", typed=f"{uri}\nno\n")

        _, said = laptop.communicate(timeout=30)
        assert "has to show" in refused.err
        assert refused.code == Exit.REFUSED
        assert laptop.returncode == Exit.REFUSED
        assert "was rejected" in said
