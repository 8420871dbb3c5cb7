"""`vyry migrate` and the topic: made once, with the right copies; a node with another prefix is refused."""

import asyncio
import subprocess
import sys

from tests.support.paths import ROOT
from vyry.kafka.topic import read_topic


def run(database: str, kafka: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "VYRY_ENV": "development",
        "DATABASE_URL": database,
        "KAFKA_URL": kafka,
        "REDIS_URL": "redis://127.0.0.1:1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "vyry.cli.main", *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_the_topic_is_made_once_and_later_settings_say_what_to_do(
    postgres_url: str, kafka_url: str, topic_prefix: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"
    first = run(postgres_url, url, "migrate", VYRY_PARTITIONS="6")

    again = run(postgres_url, url, "migrate", VYRY_PARTITIONS="9")

    state = asyncio.run(read_topic(url))
    assert state is not None
    assert (state.partitions, state.replication) == (6, 1)
    assert ("topic created" in first.stdout, first.stderr) == (True, "")
    assert "VYRY_PARTITIONS=9 counts only for a new topic, and this one has 6 partitions" in again.stderr
    assert again.returncode == 0


def test_more_copies_than_brokers_are_refused_with_the_words_of_the_broker(
    postgres_url: str, kafka_url: str, topic_prefix: str
) -> None:
    url = f"{kafka_url}/{topic_prefix}"

    done = run(postgres_url, url, "migrate", VYRY_KAFKA_REPLICATION="3")

    assert "replication factor" in done.stderr.lower()
    assert asyncio.run(read_topic(url)) is None


def test_a_node_with_another_prefix_is_refused(postgres_url: str, kafka_url: str, topic_prefix: str) -> None:
    run(postgres_url, f"{kafka_url}/{topic_prefix}", "migrate")

    done = run(postgres_url, f"{kafka_url}/{topic_prefix}2", "worker")

    assert done.returncode == 3
    assert (
        f"KAFKA_URL names the topic {topic_prefix}2.vyry-mailbags, and this installation uses {topic_prefix}.vyry"
        in done.stderr
    )
