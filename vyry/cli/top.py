"""`vyry top`: partitions, workers and processes on a full screen, updated each second. Textual is imported only then."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

from cyclopts import Parameter

from vyry.cli.errors import UsageError
from vyry.cli.operator import run_in_database
from vyry.cli.stdio import is_interactive
from vyry.operator.process_metrics import ProcessMetrics, host_urls
from vyry.settings.settings import Role, load_settings
from vyry.storage.partitions import PartitionStore


def top(*, metrics: Annotated[Sequence[str], Parameter(name="--metrics", negative="", show_default=False)] = ()) -> int:
    """Show partitions, workers, rates and sockets, live.

    Partitions and workers come from the database. Rates and sockets come from the metrics of the processes on this machine, or of those
    that `--metrics` names. Q quits.

    Args:
        metrics: URL of the operator's listener of a process, such as http://10.0.0.5:8001 (default: VYRY_ADMIN_HOST from VYRY_ADMIN_PORT on).
    """
    if not (is_interactive() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal. In scripts use `vyry partitions --json`.")
    for url in metrics:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url} is no URL of an operator's listener, such as http://10.0.0.5:8001.")
    settings = load_settings(Role.TOOL)
    urls = [url.rstrip("/") for url in metrics] or host_urls(settings.admin_host, settings.admin_port)
    processes = ProcessMetrics(urls, settings.admin_token)

    async def show() -> None:
        screen = import_module("vyry.cli.top_screen")
        await screen.TopApp(PartitionStore(), processes).run_async()

    run_in_database(settings, show)
    return 0
