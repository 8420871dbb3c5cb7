"""What a scrape shows of the work of a node: its requests, its frames, its queues, pools and event loop; and never who it was done for."""

import asyncio
import re
import time

import aiohttp
import pytest

from scripts.services import free_port
from tests.support.device_socket import DeviceSocket
from tests.support.metrics import Samples, own_samples, parse_metrics, sample
from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import RequestRefused
from vyry.composition.monitoring import build_saturation, serve_admin_listener
from vyry.operator.admin_server import AdminSources, serve_admin
from vyry.storage.database import pool_load, transaction


POSTS = {"method": "POST", "route": "/api/v1/messages"}


async def scrape(server: NodeServer) -> str:
    """The metrics that the operator's listener of this node serves."""
    settings = server.settings.model_copy(update={"admin_port": free_port()})
    async with (
        serve_admin_listener(settings, server.services, server.socket_hub.queues) as port,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return await answer.text()


def difference(before: Samples, name: str, **labels: str) -> float:
    """How much the sample has grown."""
    return sample(own_samples(), name, **labels) - sample(before, name, **labels)


async def test_each_request_is_timed_under_its_route_and_each_error_is_counted(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    before = own_samples()

    await ann.post(together, bo, b"one")
    await ann.post(together, bo, b"two")
    with pytest.raises(RequestRefused):
        await ann.call("GET", f"/users/{together}")
    async with ann.node.http.request("PATCH", f"{ann.node.url}/api/v1/messages") as answer:
        assert answer.status == 405

    assert difference(before, "vyry_request_seconds_count", **POSTS) == 2
    assert difference(before, "vyry_request_seconds_bucket", **POSTS, le="+Inf") == 2
    assert 0 < difference(before, "vyry_request_seconds_sum", **POSTS) < 10
    assert difference(before, "vyry_request_errors_total", method="-", route="-", status="405") == 1
    assert difference(before, "vyry_request_errors_total", **POSTS, status="200") == 0


async def test_each_frame_is_timed_under_its_type_and_each_refusal_is_counted(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    before = own_samples()

    line = await DeviceSocket.connect_and_resume(ann)
    await line.request("post", **ann.build_post(together, [bo.user_id], b"x"))
    with pytest.raises(RequestRefused):
        await line.request("park", seq=99)
    await line.close()

    assert difference(before, "vyry_frame_seconds_count", type="hello") == 1
    assert difference(before, "vyry_frame_seconds_count", type="post") == 1
    assert difference(before, "vyry_frame_errors_total", type="park", error_code="NOT_FOUND") == 1
    assert difference(before, "vyry_sockets_closed_total", code="client") == 1
    # A socket that lives for a day is no slow request.
    assert difference(before, "vyry_request_seconds_count", method="GET", route="/api/v1/ws") == 0


async def test_the_database_pool_shows_what_is_in_use_and_who_waits(node_server: NodeServer) -> None:
    async def hold() -> None:
        async with transaction():
            holding.set()
            await release.wait()

    holding, release = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hold())
        await holding.wait()
        # A scrape would wait for the one connection of SQLite.
        await build_saturation(node_server.settings, node_server.services, {}).measure()
        inside = own_samples()
        release.set()
    await wait_until(lambda: pool_load()[1] == 0)

    assert sample(inside, "vyry_slots_used", pool="database") >= 1
    assert sample(inside, "vyry_slots_limit", pool="database") in (1, 10)


async def test_every_queue_every_pool_and_the_disk_are_shown(sqlite_node_server: NodeServer) -> None:
    text = await scrape(sqlite_node_server)

    assert set(re.findall(r'vyry_queue_depth\{queue="(\w+)"\}', text)) >= {
        "post", "route", "deposit", "collect", "deliver", "acknowledge",
    }  # fmt: skip
    assert set(re.findall(r'vyry_slots_limit\{pool="(\w+)"\}', text)) == {
        "database", "pin", "pin_lock", "upload", "download",
    }  # fmt: skip
    assert sample(parse_metrics(text), "vyry_disk_free_bytes", folder="data") > 0


async def test_mail_that_waits_is_seen_in_its_queue(sqlite_node_server: NodeServer) -> None:
    sqlite_node_server.services.depositor.add(range(1_000_000, 1_000_700))  # type: ignore[arg-type]  # keys of no mailbox

    deposit = sample(parse_metrics(await scrape(sqlite_node_server)), "vyry_queue_depth", queue="deposit")

    assert 0 <= deposit <= 700


async def test_a_blocked_event_loop_is_seen(sqlite_node_server: NodeServer) -> None:
    sources = AdminSources(health=sqlite_node_server.services.health)
    async with serve_admin("127.0.0.1", free_port(), sources):
        await asyncio.sleep(0.15)
        before = own_samples()
        time.sleep(0.6)  # noqa: ASYNC251 - a callback that blocks is what is to be seen
        await asyncio.sleep(0.15)

    late = difference(before, "vyry_event_loop_lag_seconds_count") - difference(
        before, "vyry_event_loop_lag_seconds_bucket", le="0.25"
    )
    assert late >= 1


async def test_no_label_names_an_account_a_device_or_an_address(sqlite_node_server: NodeServer) -> None:
    ann, bo, together = await sqlite_node_server.sign_up_pair()
    await ann.post(together, bo, b"x")
    await bo.collect()
    with pytest.raises(RequestRefused):
        await ann.call("GET", f"/conversations/{bo.user_id}")

    text = await scrape(sqlite_node_server)

    for secret in (ann.user_id, bo.user_id, together, ann.number, bo.number, ann.token):
        assert secret not in text
