"""A node whose database does not keep up says so at once, and parts with those who do not listen."""

import asyncio

import pytest

from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.rest_device import OutcomeUnknown
from vyry.mail import posting
from web.live.reader import MAX_OVERLOAD_REFUSALS


@pytest.fixture
def overloaded_node(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No post may wait any more."""
    monkeypatch.setattr(posting, "MAX_PENDING_POSTS", 0)
    return monkeypatch


async def test_posts_are_refused_by_both_doors_and_taken_again_afterwards(
    sqlite_node_server: NodeServer, overloaded_node: pytest.MonkeyPatch
) -> None:
    ann, bo, conversation = await sqlite_node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(ann, codec="json")
    body = ann.build_post(conversation, [bo.user_id], b"one too many")

    with pytest.raises(OutcomeUnknown, match="503"):
        await ann.call("POST", "/messages", body)
    with pytest.raises(OutcomeUnknown, match="UNAVAILABLE"):
        await line.request("post", **body)
    overloaded_node.undo()

    assert (await line.request("post", **body))["isRepeat"] is False
    await line.close()


async def test_who_goes_on_posting_is_closed(
    sqlite_node_server: NodeServer, overloaded_node: pytest.MonkeyPatch
) -> None:
    del overloaded_node
    ann, bo, conversation = await sqlite_node_server.sign_up_pair()
    line = await DeviceSocket.connect_and_resume(ann, codec="json")
    body = ann.build_post(conversation, [bo.user_id], b"one too many")

    for _ in range(MAX_OVERLOAD_REFUSALS + 1):
        await line.send("post", **body)

    assert await line.wait_closed() == 4503


async def test_the_bytes_that_wait_are_bounded_too(
    sqlite_node_server: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "MAX_PENDING_BYTES", 1)
    ann, bo, conversation = await sqlite_node_server.sign_up_pair()
    bodies = [ann.build_post(conversation, [bo.user_id], b"x" * 1000) for _ in range(3)]

    outcomes = await asyncio.gather(*(ann.call("POST", "/messages", body) for body in bodies), return_exceptions=True)
    for body, outcome in zip(bodies, outcomes, strict=True):
        if isinstance(outcome, OutcomeUnknown):
            await ann.call("POST", "/messages", body)

    service = sqlite_node_server.services.posting
    assert (service.is_full, service._pending_bytes) == (False, 0)
