"""What the node must not keep is searched for, byte by byte, wherever the node writes: logs, metrics, Redis, Kafka."""

import base64
from collections.abc import Iterator

from redis import Redis

from scripts.nodes import Cluster
from tests.e2e.conftest import MARK
from tests.e2e.traffic import Traffic


def written(installation: Cluster) -> Iterator[tuple[str, bytes]]:
    """Everything the processes wrote outside of PostgreSQL, by place."""
    for node in installation.nodes:
        yield f"log of {node.name}", node.log().encode()
        yield f"metrics of {node.name}", repr(node.metrics()).encode()
    with Redis.from_url(installation.redis.url) as redis:
        for key in redis.scan_iter():
            yield "Redis", key + b" " + (redis.dump(key) or b"")
    for path in (installation.kafka.folder / "data").rglob("*.log"):
        yield "Kafka", path.read_bytes()


def forbidden(flow: Traffic) -> Iterator[bytes]:
    """Marks of contents, phone numbers and tokens."""
    mark = MARK.encode()
    yield mark
    for shift in range(3):
        yield base64.b64encode(bytes(shift) + mark)[4:-4]
    for talker in flow.talkers:
        yield talker.device.number.encode()
        yield talker.device.token.encode()
        yield talker.device.session["refreshToken"].encode()


async def test_no_content_number_or_token_is_left_outside_of_mailboxes(installation: Cluster, flow: Traffic) -> None:
    await flow.flows(100)
    places = list(written(installation))

    found = [(place, secret) for secret in forbidden(flow) for place, text in places if secret in text]

    assert found == []
    assert {"Redis", "Kafka", "log of web"} <= {place for place, text in places if text}
    assert await flow.verdict() == []
