"""Checks of Redis and Kafka, and what to do when the database, Redis or Kafka does not answer."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from vyry.cli.checks.finding import Finding
from vyry.kafka.url import parse_brokers, topic_name
from vyry.kafka.work_topic import client_options
from vyry.operator.health import Dependency, probe
from vyry.settings.settings import Settings


_CONNECT_TIMEOUT_SECONDS: Final = 2.0
#: With fewer copies of a partition the death of one broker stops its work records; the sweeper then deposits, up to a second later.
_WANTED_REPLICAS: Final = 3
_SETTINGS: Final = {"database": "DATABASE_URL", "redis": "REDIS_URL", "kafka": "KAFKA_URL"}
_EFFECTS: Final = {
    "database": "Until then requests get 503; no message is lost.",
    "redis": "Until then delivery is slower and WebSocket tickets fail.",
    "kafka": "Until then the sweeper deposits messages, up to a second later.",
}


async def check_services(settings: Settings) -> list[Finding]:
    """One finding for each service that is configured, and what is wrong with Kafka's brokers and topic. The database comes first."""
    kafka = _secret_text(settings.kafka_url)
    found = await probe(settings.database_url.get_secret_value(), _secret_text(settings.redis_url), kafka)
    findings = [_dependency_finding(each) for each in found]
    if kafka and any(each.name == "kafka" and each.is_up for each in found):
        findings += await _check_kafka(
            kafka, settings.partitions if "partitions" in settings.model_fields_set else None
        )
    return findings


def _secret_text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _dependency_finding(service: Dependency) -> Finding:
    if service.is_up:
        return Finding(service.name, "ok", f"{service.version}.")
    problem = f"{service.problem[:1].upper()}{service.problem[1:]}."
    # A problem after a colon says itself what to do.
    remedy = "" if "`" in problem else f" Start it, or correct {_SETTINGS[service.name]}."
    return Finding(service.name, "failed", f"{problem}{remedy} {_EFFECTS[service.name]}")


async def _check_kafka(url: str, partitions: int | None) -> list[Finding]:
    unreachable = await _unreachable_brokers(url)
    findings = [
        Finding("kafka", "warning", f"KAFKA_URL names {broker}, which does not answer: start it, or correct the name.")
        for broker in unreachable
    ]
    client = AIOKafkaClient(**client_options(url), request_timeout_ms=int(_CONNECT_TIMEOUT_SECONDS * 1000))
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS * 2):
            await client.bootstrap()
            return [*findings, *_topic_findings(await client.fetch_all_metadata(), topic_name(url), partitions)]
    except (KafkaError, OSError):
        return [*findings, Finding("kafka", "warning", "The brokers stopped answering. Run `vyry check` again.")]
    finally:
        await client.close()


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


def _topic_findings(metadata: ClusterMetadata, topic: str, wished: int | None) -> Iterator[Finding]:
    partitions = metadata._partitions.get(topic, {}).values()  # noqa: SLF001 - aiokafka has no public view of the replicas
    if wished not in (None, len(partitions)):
        yield Finding(
            "kafka",
            "warning",
            f"{topic} has {len(partitions)} partitions; VYRY_PARTITIONS={wished} counts only when the topic is created.",
        )
    leaderless = sorted(each.partition for each in partitions if each.leader == -1)
    if leaderless:
        yield Finding(
            "kafka",
            "failed",
            f"No broker leads partition {', '.join(map(str, leaderless))} of {topic}: start the brokers that have its copies. {_EFFECTS['kafka']}",
        )
    copies = min((len(each.replicas) for each in partitions), default=0)
    wanted = min(_WANTED_REPLICAS, len(metadata.brokers()))
    if copies < wanted:
        yield Finding(
            "kafka",
            "warning",
            f"{topic} has {copies} copies of each partition on {len(metadata.brokers())} brokers: give it {wanted}, or one broker that dies delays mail.",
        )
