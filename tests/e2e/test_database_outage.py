"""A database that stands still, seen from outside: every request gets its answer in time, and all is well once it moves again."""

import asyncio
import time
import uuid
from collections.abc import Sequence

import aiohttp
import pytest

from scripts.nodes import Cluster
from tests.support.frozen_server import freeze_server
from tests.support.rest_device import Body, Device, NodeClient, unused_number


Call = tuple[str, str, Body | None]


@pytest.fixture
async def pair(nodes: list[NodeClient]) -> tuple[Device, Device, str]:
    ann, bo = await nodes[0].sign_up(), await nodes[0].sign_up()
    conversation = await ann.open_direct(bo)
    await ann.fetch_device_list(bo.user_id)
    return ann, bo, conversation


def calls(ann: Device, bo: Device, conversation: str) -> Sequence[Call]:
    """One of each kind of work that needs the database."""
    return [
        ("GET", "/account", None),
        ("PATCH", "/account", {"bio": "here"}),
        ("GET", "/devices", None),
        ("GET", "/conversations", None),
        ("POST", "/conversations", {"kind": "direct", "userId": bo.user_id}),
        ("GET", "/keys/status", None),
        ("GET", "/mailbox", None),
        ("POST", "/messages", ann.build_post(conversation, [bo.user_id], b"while it stands still")),
        ("POST", "/auth/request-otp", {"phoneNumber": unused_number()}),
        ("POST", "/auth/refresh-token", {"refreshToken": "x" * 43, "attemptId": str(uuid.uuid4())}),
    ]


async def call_all(device: Device, wanted: Sequence[Call]) -> list[tuple[int, bool, float]]:
    """Status, whether it says when to try again, and seconds, of all calls at once."""

    async def answer(method: str, path: str, body: Body | None) -> tuple[int, bool, float]:
        began = time.monotonic()
        headers = {} if path.startswith("/auth") else {"Authorization": f"Bearer {device.token}"}
        async with device.node.http.request(
            method, f"{device.node.url}/api/v1{path}", json=body, headers=headers
        ) as got:
            await got.read()
            return got.status, "Retry-After" in got.headers, time.monotonic() - began

    return await asyncio.gather(*(answer(*call) for call in wanted))


async def test_a_database_that_stands_still_is_told_within_five_seconds_and_used_again_at_once(
    running_cluster: Cluster, http: aiohttp.ClientSession, pair: tuple[Device, Device, str]
) -> None:
    ann = pair[0]
    wanted = calls(*pair)

    with freeze_server(running_cluster.postgres):
        found = [await call_all(ann, wanted) for _ in range(2)]
        alive = await http.get(f"{ann.node.url}/health")
        ready = await http.get(f"{ann.node.url}/ready")
    async with asyncio.timeout(5):
        while any(status == 503 for status, _, _ in await call_all(ann, wanted)):
            continue

    assert {(status, says_when) for each in found for status, says_when, _ in each} == {(503, True)}
    assert max(seconds for each in found for _, _, seconds in each) < 5
    assert (alive.status, ready.status) == (200, 503)
    assert [status for status, _, _ in await call_all(ann, wanted)] == [200] * 9 + [401]
