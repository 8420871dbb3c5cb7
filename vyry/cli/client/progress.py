"""The progress bar of a transfer. A module of its own: Rich is imported when a bar is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from vyry.client.api import files


@contextmanager
def progress_bar(name: str) -> Iterator[files.ProgressCallback]:
    """Draw a bar for this file on standard error until the context ends."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
