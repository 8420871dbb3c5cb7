"""The Faust app of the sorting room: one topic of mailbags and one agent. No tables, no web server, no topics of its own making.

It runs as a service in the event loop it is made in, so that the sweeper and the depositor outlive it when Kafka is away (agents/room.py).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from faust.types import TP, StreamT

from agents.mailbox import sort_mailbags
from agents.transport import Bags, InProcessTransport
from vyry.mail.mailbag import TOPIC, access, brokers, topic_of
from vyry.mail.routing import Feed


SESSION_SECONDS: Final = 10.0


class WithoutProducer(BootStrategy):
    """Agents send nothing: mailbags have a producer of their own (vyry/adapters/kafka.py), and Faust's is not idempotent."""

    enable_kafka_producer = False


class SortingRoom(faust.App):
    """An app that leaves no folder behind: it has no tables to keep there."""

    BootStrategy = WithoutProducer

    async def on_first_start(self) -> None:
        """Make no folders."""


def kafka_app(url: str, depositor: Feed, on_assigned: Callable[[set[TP]], None]) -> faust.App:
    """The app on Kafka, not started; `on_assigned` is told of this worker's partitions after each rebalance."""
    app = _app(topic_of(url), [f"kafka://{server}" for server in brokers(url)], _credentials(url))

    async def assigned(_: object, *arguments: Any, **__: Any) -> None:
        on_assigned(arguments[0])

    # Faust's stub wants a parameter called `signal`, which its own examples do not have.
    app.on_partitions_assigned.connect(assigned, weak=False)  # type: ignore[arg-type]
    return _with_agent(app, topic_of(url), depositor)


def _credentials(url: str) -> faust.SASLCredentials | faust.SSLCredentials | None:
    way = access(url)
    if way.user:
        return faust.SASLCredentials(
            username=way.user, password=way.password, mechanism=way.mechanism, ssl_context=way.tls
        )
    return faust.SSLCredentials(way.tls) if way.tls else None


def in_process_app(bags: Bags, depositor: Feed) -> faust.App:
    """The same app on the mailbags of this process."""
    app = _app(TOPIC, ["memory://"])
    app.transport = InProcessTransport(app, bags)
    return _with_agent(app, TOPIC, depositor)


def _app(
    topic: str, broker: Sequence[str], credentials: faust.SASLCredentials | faust.SSLCredentials | None = None
) -> faust.App:
    return SortingRoom(
        # The name of the group too: its workers share out the partitions.
        f"{topic}-agents",
        broker=list(broker),
        broker_credentials=credentials,
        store="memory://",
        cache="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # With standby replicas or tables Faust takes its own assignor, which may leave a worker without partitions (faust#93).
        table_standby_replicas=0,
        # Broken, says its own source.
        producer_threaded=False,
        # What came before the group's first worker is the sweeper's.
        consumer_auto_offset_reset="latest",
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=2.0,
        # A worker whose loop is stuck leaves the group; the default is 1,000 s.
        broker_max_poll_interval=60.0,
        broker_request_timeout=SESSION_SECONDS,
        producer_request_timeout=5.0,
        # An agent is done with a record at once, so a rebalance has nothing to wait for.
        stream_wait_empty=False,
    )


def _with_agent(app: faust.App, topic: str, depositor: Feed) -> faust.App:
    mailbags = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def sort(stream: StreamT[bytes]) -> None:
        await sort_mailbags(stream, depositor)

    # Concurrency 1: with more, Faust commits past unfinished work (faust#606).
    app.agent(mailbags, concurrency=1, name="mailbox")(sort)
    return app
