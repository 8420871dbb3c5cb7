"""`vyry web --processes 2`: one port, two processes, one of which may die."""

import asyncio
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import Cluster, WebProcess
from tests.support.rest_device import NodeClient


@pytest.fixture
def two_process_web(running_cluster: Cluster) -> Iterator[WebProcess]:
    """A third web node of the cluster, in two processes."""
    own = ("SERVER_PORT", "VYRY_ADMIN_PORT", "VYRY_DATA_DIR")
    shared = {name: value for name, value in running_cluster.webs[0].environment.items() if name not in own}
    with WebProcess({**shared, "VYRY_PROCESSES": "2"}) as web:
        yield web


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def kill(pid: int) -> None:
    """Kill a process that is not our child, and wait for its end."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([process], [], [])
    os.close(process)


def heard(web: WebProcess, words: str, count: int) -> None:
    """Wait until the log says this so many times."""
    deadline = time.monotonic() + 20
    while web.log().count(words) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert web.log().count(words) >= count


async def statuses(http: aiohttp.ClientSession, web: WebProcess, count: int) -> set[int]:
    """What so many requests get, each on a connection of its own."""
    found = set()
    for _ in range(count):
        async with http.get(f"{web.url}/health", headers={"Connection": "close"}) as answer:
            found.add(answer.status)
    return found


async def test_two_processes_serve_one_port_and_outlive_each_other(
    running_cluster: Cluster, http: aiohttp.ClientSession, two_process_web: WebProcess
) -> None:
    before = children(two_process_web.pid)
    node = NodeClient(http, two_process_web.url, running_cluster.otp_file)
    await asyncio.to_thread(heard, two_process_web, '"event":"listening"', 2)

    await asyncio.to_thread(kill, min(before))
    meanwhile = await statuses(http, two_process_web, 20)
    await asyncio.to_thread(heard, two_process_web, '"event":"listening"', 3)
    ann, bo = await node.sign_up(), await node.sign_up()
    await ann.post(await ann.open_direct(bo), bo, b"over whichever process")
    await bo.collect(wait=5)

    assert len(before) == 2
    assert meanwhile == {200}
    assert bo.contents == [b"over whichever process"]


def test_each_process_names_itself_and_keeps_its_admin_port(two_process_web: WebProcess) -> None:
    heard(two_process_web, '"event":"admin_server_listening"', 2)

    kill(pid_of(two_process_web, 1))
    heard(two_process_web, '"event":"admin_server_listening"', 3)

    lines = [json.loads(line) for line in two_process_web.log().splitlines()]
    names = [each["node"].rpartition("/")[2] for each in lines if each["event"] == "starting"]
    ports = [
        (each["node"].rpartition("/")[2], each["port"]) for each in lines if each["event"] == "admin_server_listening"
    ]
    assert lines[0]["event"] == "starting"
    assert {"DATABASE_URL", "VYRY_PROCESSES"} <= set(lines[0]["settings"])
    assert two_process_web.environment["JWT_SECRET"] not in two_process_web.log()
    assert sorted(names[1:]) == ["0", "1", "1"]
    assert set(ports) == {("0", two_process_web.admin_port), ("1", two_process_web.admin_port + 1)}
    assert all("node" in each for each in lines)


def pid_of(web: WebProcess, number: int) -> int:
    """The process id of a child by its number."""
    lines = [json.loads(line) for line in web.log().splitlines()]
    [pid] = [each["process"] for each in lines if each["event"] == "starting" and each["node"].endswith(f"/{number}")]
    return int(pid)


def test_told_to_stop_the_supervisor_and_its_processes_all_end_well(two_process_web: WebProcess) -> None:
    supervisor, both = two_process_web.pid, children(two_process_web.pid)
    heard(two_process_web, '"event":"listening"', 2)

    two_process_web.stop()

    assert two_process_web.log().count('"event":"stopped"') == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in [supervisor, *both])
