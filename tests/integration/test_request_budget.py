"""Every request with a token costs by what it answers: no route can be asked without end, and mail does not wait for other requests."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import Device, NodeClient, RequestRefused
from web.routes import ROUTES


#: One address signs up everybody here, and buckets refill slowly enough to be told exactly.
ENVIRONMENT = {
    "VYRY_LIMITS": "on",
    "VYRY_LIMIT_OTP_NETWORK": "1000/60",
    "VYRY_LIMIT_REQUESTS": "200/20000000",
    "VYRY_LIMIT_DEVICE_REQUESTS": "12/1200000",
}


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess(ENVIRONMENT) as node:
        yield node
        assert '"event":"unhandled_error"' not in node.log()


@pytest_asyncio.fixture
async def node(alone: AllInOneProcess) -> AsyncIterator[NodeClient]:
    async with aiohttp.ClientSession() as http:
        yield NodeClient(http, alone.url, alone.otp_file)


async def ask(device: Device, path: str) -> tuple[int, int]:
    """How long the answer is, and how much of the budget is left behind it."""
    authorization = {"Authorization": f"Bearer {device.token}"}
    async with device.node.http.get(f"{device.node.url}/api/v1{path}", headers=authorization) as answer:
        assert answer.status == 200
        assert answer.headers["RateLimit-Policy"] == '"requests";q=200;w=20000000'
        left = answer.headers["RateLimit"].partition(";r=")[2].partition(";")[0]
        return len(await answer.read()), int(left)


async def until_refused(device: Device, method: str, path: str) -> int:
    """How many of these are granted."""
    for granted in range(1_000):
        try:
            await device.call(method, path)
        except RequestRefused:
            return granted
    return 1_000


async def test_an_answer_costs_by_its_size_and_an_estimate_is_given_back(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    posted = await ann.post(conversation, bo, b"x")
    await ann.call("PATCH", "/account", {"sealedProfile": "A" * 8192})
    _, before = await ask(ann, "/friends")

    fate, after_fate = await ask(ann, f"/messages/{posted['messageId']}")
    page, after_page = await ask(ann, "/conversations?limit=200")
    account, after_account = await ask(ann, "/account")

    assert max(fate, page) < 2048
    assert [before - after_fate, after_fate - after_page, after_page - after_account] == [
        1 + fate // 256,
        1,
        1 + account // 2048,
    ]


@pytest.mark.parametrize("path", ["/account", "/conversations?limit=200", "/friends", "/devices", "/keys/status"])
async def test_no_route_is_asked_without_end(node: NodeClient, path: str) -> None:
    device = await node.sign_up()

    assert 0 < await until_refused(device, "GET", path) <= 200


async def test_mail_and_the_end_of_a_session_do_not_wait_for_other_requests(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await bo.open_direct(ann)
    await until_refused(ann, "GET", "/account")
    await bo.post(conversation, ann, b"x")

    await ann.collect(wait=5)
    assert len(ann.received) == 1
    await ann.call("POST", "/auth/ws-ticket")
    await ann.call("POST", "/auth/logout")


async def test_a_mailbox_is_not_asked_without_end_either(node: NodeClient) -> None:
    device = await node.sign_up()

    assert await until_refused(device, "GET", "/mailbox") == 12
    await device.call("GET", "/account")


def test_every_route_with_a_token_has_a_limit() -> None:
    free = [f"{route.method} {route.path}" for route in ROUTES if route.auth == "token" and not route.cost]

    assert free == ["POST /api/v1/messages"]
