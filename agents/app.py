"""The Faust app of a worker: the work topic and one agent. No tables, no web server; it creates no topics.

It runs as a service in the event loop that builds it, so the sweeper and the depositor continue when Kafka is down (agents/worker.py).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from faust.types import TP, StreamT
from yarl import URL

from agents.in_process import InProcessTransport, WorkRecordSource
from agents.mailbox import deposit_work_records
from agents.running import AppFactory
from agents.transport import WorkerTransport
from vyry.kafka.assignor import WorkerAssignor
from vyry.kafka.topic import TopicMissing, log_missing_topic, read_topic
from vyry.kafka.url import parse_access, parse_brokers, topic_name
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.routing import DepositQueue
from vyry.mail.work_record import TOPIC


#: The least that brokers allow (group.min.session.timeout.ms). A worker that was killed loses its partitions after this time; until then the sweepers deposit.
SESSION_SECONDS: Final = 6.0
#: A member hears of a rebalance by its next heartbeat.
HEARTBEAT_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """This worker in the group: its name, its assignor, and what happens when its partitions change."""

    name: str
    assignor: WorkerAssignor
    on_revoked: Callable[[], None]
    on_assigned: Callable[[Collection[int]], None]


class NoProducerBootStrategy(BootStrategy):
    """Agents send nothing: work records have a producer of their own (vyry/kafka/work_topic.py), and Faust's is not idempotent."""

    enable_kafka_producer = False


class MailboxApp(faust.App):
    """An app that creates no folder, because it has no tables."""

    BootStrategy = NoProducerBootStrategy

    async def on_first_start(self) -> None:
        """Create no folders."""


def kafka_app(url: str, depositor: DepositQueue, meter: PartitionMeter, member: GroupMember) -> faust.App:
    """The app on Kafka, not started."""
    brokers = [URL(f"kafka://{server}") for server in parse_brokers(url)]
    app = _app(topic_name(url), brokers, consumer_group_instance_id=member.name, broker_credentials=_credentials(url))
    app.transport = WorkerTransport(brokers, app, member.assignor)

    async def revoked(*_: Any, **__: Any) -> None:
        member.on_revoked()

    async def assigned(_: object, partitions: set[TP], **__: Any) -> None:
        member.on_assigned([tp.partition for tp in partitions])

    # Faust's stub wants a parameter called `signal`, which its own examples do not have.
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)  # type: ignore[arg-type]
    return _with_agent(app, topic_name(url), depositor, meter)


def build_when_topic_exists(url: str, build: Callable[[], faust.App]) -> AppFactory:
    """Build the app only when the brokers have the topic: Faust logs pages of tracebacks otherwise, and brokers may create a topic that is asked for."""
    is_logged = False

    async def builder() -> faust.App:
        nonlocal is_logged
        if await read_topic(url) is None:
            if not is_logged:
                log_missing_topic(topic_name(url))
            is_logged = True
            raise TopicMissing(topic_name(url))
        is_logged = False
        return build()

    return builder


def _credentials(url: str) -> faust.SASLCredentials | faust.SSLCredentials | None:
    access = parse_access(url)
    if access.user:
        return faust.SASLCredentials(
            username=access.user, password=access.password, mechanism=access.mechanism, ssl_context=access.tls
        )
    return faust.SSLCredentials(access.tls) if access.tls else None


def in_process_app(source: WorkRecordSource, depositor: DepositQueue, meter: PartitionMeter) -> faust.App:
    """The same app on the work records of this process."""
    app = _app(TOPIC, [URL("memory://")])
    app.transport = InProcessTransport(app, source)
    return _with_agent(app, TOPIC, depositor, meter)


def _app(topic: str, brokers: Sequence[URL], **more: Any) -> faust.App:
    return MailboxApp(
        # The name of the group too: its workers share out the partitions.
        f"{topic}-agents",
        broker=list(brokers),
        store="memory://",
        cache="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # With standby replicas or tables Faust takes an assignor of its own, which may leave a worker without partitions (faust#93).
        table_standby_replicas=0,
        # Faust's source marks it as broken.
        producer_threaded=False,
        # Records before the first worker of the group are left to the sweeper.
        consumer_auto_offset_reset="latest",
        consumer_metadata_max_age_ms=30_000,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        # A worker whose loop is stuck leaves the group; the default is 1,000 s.
        broker_max_poll_interval=60.0,
        broker_request_timeout=10.0,
        producer_request_timeout=5.0,
        # An agent is done with a record at once, so a rebalance has nothing to wait for.
        stream_wait_empty=False,
        **more,
    )


def _with_agent(app: faust.App, topic: str, depositor: DepositQueue, meter: PartitionMeter) -> faust.App:
    work_records = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def deposit(stream: StreamT[bytes]) -> None:
        await deposit_work_records(stream.events(), depositor, meter)

    # Concurrency 1: with more, Faust commits past unfinished work (faust#606).
    app.agent(work_records, concurrency=1, name="mailbox")(deposit)
    return app
