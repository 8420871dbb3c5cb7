"""What an operator does to mailboxes of a running node reaches real clients: losses of the reason operator, and announcements that survive kill -9."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import PUSH_PORT, AllInOneProcess, Cluster
from tests.support.device_socket import DeviceSocket
from tests.support.push_server import open_push_server
from tests.support.rest_device import Device, NodeClient
from tests.support.sdk_clients import events_until, open_client, pair
from tests.support.sms_provider_server import respond_with
from vyry.client.events import Announcement, Lost, Message


pytestmark = pytest.mark.timeout(180)
SURE = ("--yes", "--reason", "a test", "--operator", "olga")
_PROGRAM = "import sys; from vyry.cli.main import main; sys.exit(main())"


async def start(environment: dict[str, str], *words: str) -> Process:
    """A command of the operator, beside the node."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        *words,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(node: AllInOneProcess, *words: str, code: int = 0) -> str:
    """What it prints, when it has ended with this exit code."""
    process = await start(dict(node.environment), *words)
    out, err = await process.communicate()
    assert process.returncode == code, out + err
    return (out + err).decode()


async def test_a_client_sees_the_loss_of_dropped_entries_and_goes_on(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    async with pair(all_in_one, tmp_path) as (_, bo, chat):
        device = f"{bo.user_id}/1"
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        for text in ("one", "two", "three"):
            await ann.send_text(chat, text)
        await ann.sent()
    waiting = json.loads(await run(all_in_one, "mailbox", "explain", device, "--json"))
    first, last = waiting["acknowledgedSeq"] + 1, waiting["lastSeq"]

    dropped = await run(all_in_one, "mailbox", "drop", device, "--seq", f"{first}-{last}", *SURE)

    assert dropped == f"{last - first + 1} entries dropped.\n"
    async with open_client(all_in_one, tmp_path / "ann") as ann, open_client(all_in_one, tmp_path / "bo") as bo:
        lost = (await events_until(bo, Lost))[-1]
        assert isinstance(lost, Lost)
        assert (lost.reason, lost.seq, lost.through_seq) == ("operator", first, last)
        await ann.send_text(chat, "four")
        assert (await events_until(bo, Message))[-1].body["text"] == "four"


async def test_an_announcement_that_is_killed_and_resumed_reaches_every_device_once(
    all_in_one: AllInOneProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    node = NodeClient(http, all_in_one.url, all_in_one.otp_file)
    devices = [await node.sign_up() for _ in range(7)]
    text = ("announce", "Maintenance at 22:00.", "--language", "en", "--per-second", "2", *SURE)

    process = await start(dict(all_in_one.environment), *text)
    assert process.stderr is not None
    for _ in range(2):
        await process.stderr.readline()
    process.kill()
    await process.wait()
    again = await run(all_in_one, *text, code=3)
    done = await run(all_in_one, "announce", "--resume", "--per-second", "100")

    assert "unfinished: continue it with `vyry announce --resume`" in again
    assert "0 of them are full" in done
    assert await run(all_in_one, "announce", "--resume", code=3) == "vyry: No announcement is unfinished.\n"
    for device in devices:
        await device.collect(wait=5)
        assert [each["notice"]["text"] for each in device.received if "notice" in each] == ["Maintenance at 22:00."]


async def test_an_announcement_is_an_event_of_its_own(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, _, _):
        counted = await run(all_in_one, "announce", "--dry-run", "Hello all")
        await run(all_in_one, "announce", "Hello\nall", "--per-second", "500", *SURE)

        (event,) = (await events_until(ann, Announcement))[-1:]

        assert isinstance(event, Announcement)
        assert (event.text, event.language) == ("Hello\nall", None)
        assert "mailboxes would get this text (9 characters). Nothing was changed." in counted


async def test_a_test_push_reaches_the_push_service(all_in_one: AllInOneProcess, http: aiohttp.ClientSession) -> None:
    bo = await NodeClient(http, all_in_one.url, all_in_one.otp_file).sign_up()
    async with open_push_server(PUSH_PORT) as services:
        await bo.call("PUT", "/devices/current/push", services.subscribe().registration_body(services.url))

        sent = await run(all_in_one, "push", "test", f"{bo.user_id}/1")
        services.fault = respond_with(403)
        refused = await run(all_in_one, "push", "test", f"{bo.user_id}/1", code=1)

    assert (sent, len(services.pushed)) == ("sent (status 201): the push service took it.\n", 1)
    assert refused.startswith("refused (status 403): the push service refuses it")


async def test_in_a_cluster_the_node_of_the_socket_answers(running_cluster: Cluster, nodes: list[NodeClient]) -> None:
    bo: Device = await nodes[1].sign_up()
    line = await DeviceSocket.connect_and_resume(bo)

    found = json.loads(await explain(running_cluster, bo))
    await line.close()

    assert found["socket"]["hasAnswered"]
    assert found["socket"]["details"]["sent_seq"] == 0
    assert [each["code"] for each in found["reasons"]] == ["nothingWaits"]


async def explain(cluster: Cluster, device: Device) -> str:
    process = await start(
        dict(cluster.workers[0].environment), "mailbox", "explain", f"{device.user_id}/{device.device_id}", "--json"
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()
