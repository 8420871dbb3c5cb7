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


#: Name, service and parent of each span; `notify` ends beside them.
WHOLE_TRACE = [
    ("post", "vyry-web", None),
    ("route", "vyry-web", "post"),
    ("deposit", "vyry-worker", "route"),
    ("collect", "vyry-web", "deposit"),
    ("deliver", "vyry-web", "collect"),
    ("acknowledge", "vyry-web", "deliver"),
]


def steps(spans: list[ReceivedSpan]) -> list[tuple[str, str, str | None]]:
    parents = {each.span: each.name for each in spans}
    return [(each.name, each.service, parents.get(each.parent)) for each in spans]


async def wait_for_trace(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """The spans of the first whole trace: others end where a sweeper was earlier than the work record."""
    for _ in range(300):
        for spans in receiver.traces().values():
            if [each for each in steps(spans) if each[0] != "notify"] == WHOLE_TRACE:
                return spans
        await asyncio.sleep(0.1)
    raise TimeoutError([steps(spans) for spans in receiver.traces().values()])


async def post_and_acknowledge(nodes: list[NodeClient]) -> list[str]:
    """Ann posts at the first node, one envelope after the other; Bo's socket is on the second and acknowledges. Returns what no span may have."""
    ann, bo = await nodes[0].sign_up(), await nodes[1].sign_up()
    together = await ann.open_direct(bo)
    await ann.fetch_device_list(bo.user_id)
    line = await DeviceSocket.connect_and_resume(bo)
    # Until the worker's agents read, the sweepers deposit, and a trace ends.
    for number in range(1, 21):
        await ann.post(together, bo, b"traced %d" % number)
        await line.wait_for_entries(number)
    await line.close()
    return [ann.user_id, bo.user_id, together, ann.number, bo.number]


@pytest.mark.timeout(180)
async def test_an_envelope_to_a_socket_on_another_node_is_one_trace(
    traced_cluster: Cluster, receiver: OtlpReceiver
) -> None:
    async with receiver.listening(), aiohttp.ClientSession() as http:
        nodes = [NodeClient(http, web.url, traced_cluster.otp_file) for web in traced_cluster.webs]
        secrets = await post_and_acknowledge(nodes)
        spans = await wait_for_trace(receiver)

    assert ("notify", "vyry-worker", "deposit") in steps(spans)
    assert {key for each in spans for key in each.attributes} == {"vyry.batch.size"}
    text = b"".join(receiver.bodies).lower()
    assert [secret for secret in secrets if secret.lower().encode() in text] == []
