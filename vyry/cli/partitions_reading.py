"""Reads the cluster for `vyry partitions`, once or every second. It loads as little as it can: an operator waits for it."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from vyry.cli.partitions_table import cluster_lines
from vyry.errors import CommandError, OperationRefused, Unavailable
from vyry.mail.partitions import Cluster
from vyry.operator.partitions.report import bad_partitions, describe_cluster
from vyry.settings.settings import Settings
from vyry.storage.database import connection, database_guard, is_postgres, open_database, sqlite_path
from vyry.storage.missing_tables import missing_migrations
from vyry.storage.partitions import PartitionStore


T = TypeVar("T")
WATCH_SECONDS: Final = 1.0


def run_reading(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run `work` with the database open. Raises CommandError when there is no file or a migration is missing, Unavailable."""
    url = settings.database_url.get_secret_value()
    if not is_postgres(url) and not Path(sqlite_path(url)).exists():
        raise CommandError(f"There is no database {sqlite_path(url)}: run `vyry start`, or correct DATABASE_URL.")

    async def run_opened() -> T:
        async with open_database(url):
            async with database_guard():
                missing = await missing_migrations(connection().execute_query_dict)
            if missing:
                raise CommandError(f"Migrations not applied: {', '.join(missing)}. Run `vyry migrate` first.")
            return await work()

    return asyncio.run(run_opened())


def require_partitions(cluster: Cluster) -> Cluster:
    """The same cluster. Raises OperationRefused when it has no partitions."""
    if not cluster.partitions:
        raise OperationRefused(
            "There are no partitions yet: run `vyry migrate`, then start a worker (or `vyry start`)."
        )
    return cluster


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
        run_reading(settings, watch)
    return 1 if is_bad else 0


async def _read_lines(height: int | None) -> tuple[Cluster | None, list[Text]]:
    try:
        cluster = require_partitions(await PartitionStore().read_cluster())
    except Unavailable as problem:
        return None, [Text(problem.problem, style="bold red")]
    return cluster, cluster_lines(cluster, height)
