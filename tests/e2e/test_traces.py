"""One envelope is one trace, from post to acknowledge, over two web nodes, a worker, Kafka, PostgreSQL and Redis."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from scripts.nodes import Cluster, open_cluster
from tests.support.device_socket import DeviceSocket
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.support.rest_device import NodeClient


@pytest.fixture(scope="module")
def receiver() -> OtlpReceiver:
    return OtlpReceiver()


@pytest.fixture(scope="module")
def traced_cluster(receiver: OtlpReceiver) -> Iterator[Cluster]:
    """Two web nodes and a worker that trace every post."""
    with open_cluster(webs=2, workers=1, settings={"VYRY_TRACES_URL": receiver.url, "VYRY_TRACES_SHARE": "1"}) as made:
        yield made


async def wait_for_trace(receiver: OtlpReceiver, services: set[str]) -> list[ReceivedSpan]:
    """The spans of the first trace that was acknowledged and went through these services."""
    for _ in range(300):
        for spans in receiver.traces().values():
            if spans[-1].name == "acknowledge" and {each.service for each in spans} == services:
                return spans
        await asyncio.sleep(0.1)
    raise TimeoutError([[(each.service, each.name) for each in spans] for spans in receiver.traces().values()])


@pytest.mark.timeout(180)
async def test_an_envelope_to_a_socket_on_another_node_is_one_trace(
    traced_cluster: Cluster, receiver: OtlpReceiver
) -> None:
    async with receiver.listening(), aiohttp.ClientSession() as http:
        first, second = (NodeClient(http, web.url, traced_cluster.otp_file) for web in traced_cluster.webs)
        ann, bo = await first.sign_up(), await second.sign_up()
        together = await ann.open_direct(bo)
        await ann.fetch_device_list(bo.user_id)
        line = await DeviceSocket.connect_and_resume(bo)
        await ann.post(together, bo, b"traced")
        await line.wait_for_entries(1)
        spans = await wait_for_trace(receiver, {"vyry-web", "vyry-worker"})
        await line.close()

    by_id = {each.span: each for each in spans}
    ways = {each.name: by_id[each.parent].name for each in spans if each.parent}
    assert {each.name: each.service for each in spans} == {
        "post": "vyry-web", "route": "vyry-web", "deposit": "vyry-worker", "notify": "vyry-worker",
        "collect": "vyry-web", "deliver": "vyry-web", "acknowledge": "vyry-web",
    }  # fmt: skip
    assert ways == {
        "route": "post", "deposit": "route", "notify": "deposit",
        "collect": "deposit", "deliver": "collect", "acknowledge": "deliver",
    }  # fmt: skip
    assert all(each.began <= each.ended for each in spans)
    assert {key for each in spans for key in each.attributes} == {"vyry.batch.size"}
    # Neither an id of an account nor that of a conversation left the nodes.
    text = b"".join(receiver.bodies).lower()
    for secret in (ann.user_id, bo.user_id, together, ann.number, bo.number):
        assert secret.lower().encode() not in text
