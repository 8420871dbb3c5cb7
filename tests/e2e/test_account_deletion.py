"""Deletion and suspension on real nodes: whatever dies meanwhile, and whichever node is asked."""

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import AllInOneProcess, Cluster, VyryProcess
from tests.support.device_socket import DeviceSocket
from tests.support.paths import ROOT
from tests.support.rest_device import Device, NodeClient, RequestRefused


PROGRAM = (sys.executable, "-c", "import sys; from vyry.cli.main import main; sys.exit(main())")


async def run_operator_command(beside: VyryProcess, *words: str) -> str:
    """What a command of the operator prints, run with the settings of that node."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *words, env=dict(beside.environment), cwd=ROOT, stdout=pipe, stderr=pipe
    )
    out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return out.decode()


async def delete(device: Device) -> None:
    asked = {"phoneNumber": device.number, "purpose": "deleteAccount"}
    challenge = await device.node.call("POST", "/auth/request-otp", asked)
    otp = await device.node.latest_code(device.number)
    await device.call("POST", "/account/delete", {"challengeId": challenge["challengeId"], "otp": otp})


def count_rows_left(file: Path, device: Device) -> int:
    """How many rows still tell of the account or hang on it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", [device.user_id]).fetchone()[0]
            for table, column in (
                ("account", "id"),
                ("device", "account_id"),
                ("member", "account_id"),
                ("account_event", "account_id"),
                ("notice", "account_id"),
            )
        ]
    return sum(counts)


async def test_a_deletion_goes_on_after_kill_9_and_is_done_within_a_minute(http: aiohttp.ClientSession) -> None:
    with AllInOneProcess() as alone:
        node = NodeClient(http, alone.url, alone.otp_file)
        ann, bo = await node.sign_up(), await node.sign_up()
        conversation = await ann.open_direct(bo)
        for number in range(30):
            await ann.post(conversation, bo, b"%d" % number)
        file = Path(alone.environment["VYRY_DATA_DIR"]) / "vyry.db"
        await delete(ann)
        deleted_at = time.monotonic()

        while await asyncio.to_thread(count_rows_left, file, ann):
            # Again and again, in the middle of whatever it does.
            await asyncio.sleep(4)
            await asyncio.to_thread(alone.kill)
            await asyncio.to_thread(alone.start)

        assert time.monotonic() - deleted_at < 60
        while len(bo.contents) < 30 or "accountDeleted" not in [
            e["notice"]["name"] for e in bo.received if "notice" in e
        ]:
            await bo.collect(wait=5)
        assert bo.contents == [b"%d" % number for number in range(30)]
        assert (await node.sign_up(ann.number)).session["isNewUser"]


async def test_a_suspension_holds_on_every_node_within_a_second_and_a_resumption_restores_all(
    running_cluster: Cluster, nodes: list[NodeClient]
) -> None:
    here, there = nodes
    ann, bo = await here.sign_up(), await there.sign_up()
    conversation = await bo.open_direct(ann)
    line = await DeviceSocket.connect_and_resume(ann, there.url)
    sure = ["--yes", "--json", "--reason", "spam", "--operator", "olga"]

    await run_operator_command(running_cluster.webs[0], "user", "suspend", ann.user_id, *sure)
    assert await line.wait_closed(1) == 4401

    for node in nodes:
        with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
            await node.call("GET", "/account", token=ann.token)
    with pytest.raises(RequestRefused, match="FORBIDDEN"):
        await here.sign_up(ann.number)
    await bo.post(conversation, ann, b"while you were away")
    await run_operator_command(running_cluster.webs[1], "user", "resume", ann.user_id, *sure)
    async with asyncio.timeout(2):
        await wait_for_session(ann)

    await ann.collect(wait=5)
    assert ann.contents == [b"while you were away"]
    assert await operator_acts_on(ann, running_cluster.webs[0]) == [("olga", "userSuspend"), ("olga", "userResume")]


async def operator_acts_on(device: Device, beside: VyryProcess) -> list[tuple[str, str]]:
    """What the log says that operators did to the account."""
    lines = [json.loads(line) for line in (await run_operator_command(beside, "audit", "--json")).splitlines()]
    return [(each["operator"], each["act"]) for each in lines if each["subject"] == device.user_id]


async def wait_for_session(device: Device) -> None:
    """Ask until the node knows that the token is good again: for half a second it believes what it saw last."""
    while True:
        try:
            await device.call("GET", "/account")
        except RequestRefused:
            await asyncio.sleep(0.05)
        else:
            return
