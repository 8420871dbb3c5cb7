"""Runs the work of `vyry partitions` in the database, checks first that there are partitions that can be moved, and turns refusals into one line."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Final, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from vyry.cli.errors import CommandError, RefusedByState, UsageError
from vyry.cli.operator import run_in_database
from vyry.cli.partitions_table import cluster_lines
from vyry.errors import Unavailable
from vyry.kafka.topic_partitions import TopicUnavailable, count_partitions
from vyry.mail.partitions import Cluster
from vyry.operator.partitions import changes
from vyry.operator.partitions.model import NotInCluster, PlanRefused, PlanStuck
from vyry.operator.partitions.report import bad_partitions, describe_cluster
from vyry.settings.settings import Settings
from vyry.storage.database import is_postgres


T = TypeVar("T")
WATCH_SECONDS: Final = 1.0


def run_partition_work(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run `work` with the database open. Raises CommandError, RefusedByState, Unavailable."""
    # aiokafka logs each failed connection; the error of the command says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return run_in_database(settings, work)
    except PlanRefused as problem:
        raise RefusedByState(str(problem)) from None
    except (NotInCluster, PlanStuck, TopicUnavailable) as problem:
        raise CommandError(str(problem)) from None


def require_cluster(settings: Settings) -> str:
    """The URL of Kafka. Raises RefusedByState for a node of `vyry start`, UsageError without KAFKA_URL."""
    if not is_postgres(settings.database_url.get_secret_value()):
        raise RefusedByState(
            "A node of `vyry start` has one worker: its partitions cannot be moved, drained, pinned or added. "
            "Several workers need PostgreSQL, Redis and Kafka (docs/operations.md)."
        )
    if settings.kafka_url is None:
        raise UsageError("KAFKA_URL is not set: run this command with the settings of a worker.")
    return settings.kafka_url.get_secret_value()


def require_partitions(cluster: Cluster) -> Cluster:
    """The same cluster. Raises PlanRefused when it has no partitions."""
    if not cluster.partitions:
        raise RefusedByState("There are no partitions yet: run `vyry migrate`, then start a worker (or `vyry start`).")
    return cluster


async def require_topic(kafka: str, cluster: Cluster) -> None:
    """Raises RefusedByState when the topic has too few partitions, CommandError when Kafka does not respond."""
    expected, found = len(cluster.partitions), await count_partitions(kafka)
    if found < expected:
        raise RefusedByState(
            f"The topic has {found} partitions, and the database expects {expected}: check that KAFKA_URL names the brokers and the prefix of this "
            "installation, then run `vyry migrate`."
        )


def watch_cluster(settings: Settings, *, as_json: bool) -> int:
    """Show the cluster every second until Ctrl-C; returns 1 if a partition was in a bad state at the end. While the database is down, one line says so."""
    is_bad = False

    async def watch() -> None:
        nonlocal is_bad
        console = Console()
        is_screen = sys.stdout.isatty() and not as_json
        with Live(console=console, screen=True, auto_refresh=False) if is_screen else nullcontext() as live:
            while True:
                cluster, lines = await _read_lines(console.height if is_screen else None)
                is_bad = cluster is None or bool(bad_partitions(cluster))
                if live is not None:
                    live.update(Group(*lines), refresh=True)
                elif as_json:
                    print(json.dumps(None if cluster is None else describe_cluster(cluster)), flush=True)
                else:
                    print(*(line.plain for line in lines), "", sep="\n", flush=True)
                await asyncio.sleep(WATCH_SECONDS)

    with suppress(KeyboardInterrupt):
        run_partition_work(settings, watch)
    return 1 if is_bad else 0


async def _read_lines(height: int | None) -> tuple[Cluster | None, list[Text]]:
    try:
        cluster = require_partitions(await changes.read_cluster())
    except Unavailable as problem:
        return None, [Text(problem.problem, style="bold red")]
    return cluster, cluster_lines(cluster, height)
