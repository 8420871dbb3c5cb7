"""The progress bar of a transfer. A module of its own: Rich is imported when a bar is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from vyry.client.api import files


@contextmanager
def progress_bar(name: str) -> Iterator[files.ProgressCallback]:
    """Draw a bar for this file on standard error until the context ends."""
    with _bar(name, DownloadColumn(), TransferSpeedColumn()) as progress:
        yield progress


@contextmanager
def count_bar(name: str) -> Iterator[files.ProgressCallback]:
    """Draw a bar that counts on standard error until the context ends."""
    with _bar(name, MofNCompleteColumn()) as progress:
        yield progress


@contextmanager
def _bar(name: str, *measures: ProgressColumn) -> Iterator[files.ProgressCallback]:
    columns = (BarColumn(), *measures, TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
