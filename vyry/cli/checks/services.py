"""Checks of Redis and Kafka, and what to do when the database, Redis or Kafka does not answer."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from aiokafka.errors import KafkaError
from pydantic import SecretStr

from vyry.cli.checks.finding import Finding
from vyry.errors import Unavailable
from vyry.kafka.topic import REPLICATION, TopicState, read_topic
from vyry.kafka.url import parse_brokers
from vyry.operator.health import Dependency, probe
from vyry.operator.topic_map import map_differences, unused_setting
from vyry.settings.settings import Settings
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


_CONNECT_TIMEOUT_SECONDS: Final = 2.0
_SETTINGS: Final = {"database": "DATABASE_URL", "redis": "REDIS_URL", "kafka": "KAFKA_URL"}
_EFFECTS: Final = {
    "database": "Until then requests get 503; no message is lost.",
    "redis": "Until then delivery is slower and WebSocket tickets fail.",
    "kafka": "Until then web nodes and sweepers deposit messages, some up to a second later.",
    "workers": "Until then web nodes deposit the messages, and no push is sent.",
}


async def check_services(settings: Settings) -> list[Finding]:
    """One finding for each service that is configured. The database comes first."""
    url = settings.database_url.get_secret_value()
    found = await probe(url, _secret_text(settings.redis_url), _secret_text(settings.kafka_url))
    # Workers are counted in the database.
    is_database_up = found[0].is_up
    return [_dependency_finding(each) for each in found if is_database_up or each.name != "workers"]


def _secret_text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _dependency_finding(service: Dependency) -> Finding:
    if service.is_up:
        return Finding(service.name, "ok", f"{service.version}.")
    problem = f"{service.problem[:1].upper()}{service.problem[1:]}."
    # A colon introduces what to do.
    remedy = (
        f" Start it, or correct {_SETTINGS[service.name]}." if service.name in _SETTINGS and ":" not in problem else ""
    )
    return Finding(service.name, "failed", f"{problem}{remedy} {_EFFECTS[service.name]}")


async def check_topic(settings: Settings) -> list[Finding]:
    """The brokers that KAFKA_URL names one by one, and the work topic beside the map of partitions in the database, which must be up."""
    if settings.kafka_url is None:
        return []
    url = settings.kafka_url.get_secret_value()
    unreachable = await _unreachable_brokers(url)
    findings = [
        Finding("kafka", "warning", f"KAFKA_URL names {broker}, which does not answer: start it, or correct the name.")
        for broker in unreachable
    ]
    try:
        topic = await read_topic(url)
        async with open_database(settings.database_url.get_secret_value()):
            known = await PartitionStore().read_map()
    except (KafkaError, OSError, Unavailable):
        # The probes report what is down.
        return findings
    if topic is not None and known is not None:
        wanted = settings.partitions if "partitions" in settings.model_fields_set else None
        findings += [Finding("topic", "failed", line) for line in map_differences(known, topic)]
        findings += [Finding("topic", "warning", line) for line in unused_setting(known, wanted)]
    return [*findings, *_replication_findings(topic)]


async def _unreachable_brokers(url: str) -> list[str]:
    async def is_reachable(server: str) -> bool:
        host, _, port = server.rpartition(":")
        with suppress(OSError):
            async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                writer.close()
                return True
        return False

    servers = parse_brokers(url)
    answers = await asyncio.gather(*map(is_reachable, servers))
    return [server for server, answered in zip(servers, answers, strict=True) if not answered]


def _replication_findings(topic: TopicState | None) -> Iterator[Finding]:
    if topic is None or topic.replication >= min(REPLICATION, topic.brokers):
        return
    yield Finding(
        "topic",
        "warning",
        f"{topic.name} has {topic.replication} copies of each partition on {topic.brokers} brokers: with fewer than {min(REPLICATION, topic.brokers)}, one broker that dies delays mail.",
    )
