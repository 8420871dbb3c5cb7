"""The screen of `vyry top`: a summary, and the tables of partitions, workers and processes."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Footer, Static
from textual.worker import Worker

from vyry.cli.client.terminal_text import sanitize_line
from vyry.cli.closing_app import ClosingApp
from vyry.errors import Unavailable
from vyry.operator.cluster_rows import PARTITION_COLUMNS, WORKER_COLUMNS, Row, cluster_rows
from vyry.operator.cluster_watch import ClusterSource
from vyry.operator.process_metrics import ProcessMetrics, ProcessRates
from vyry.telemetry import VERBS


UPDATE_SECONDS: Final = 1.0
PROCESS_COLUMNS: Final = (
    "process",
    "sockets",
    *(f"{verb}/s" for verb in VERBS),
    "requests/s",
    "errors/s",
    "loop lag ms",
    "CPU",
)
_STYLES: Final = {
    "late": "yellow",
    "stalled": "bold red",
    "orphaned": "bold red",
    "lost": "bold red",
    "draining": "cyan",
}


class TopApp(ClosingApp):
    """Reads the database and the processes each second. While the database is down it says so and keeps the rows."""

    TITLE = "vyry top"
    ENABLE_COMMAND_PALETTE = False
    CSS = "DataTable { height: auto; margin-bottom: 1; } #summary { padding: 0 1; margin-bottom: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+q", "quit", "Quit", show=False),
    ]

    def __init__(self, source: ClusterSource, processes: ProcessMetrics) -> None:
        super().__init__()
        self._source = source
        self._processes = processes

    def compose(self) -> ComposeResult:
        """See App."""
        yield Static(id="summary")
        with VerticalScroll():
            for name in ("partitions", "workers", "processes"):
                yield DataTable(id=name, cursor_type="none")
        yield Footer()

    def on_mount(self) -> None:
        """Name the columns, and begin to read."""
        for name, columns in (
            ("partitions", PARTITION_COLUMNS),
            ("workers", WORKER_COLUMNS),
            ("processes", PROCESS_COLUMNS),
        ):
            self.query_one(f"#{name}", DataTable).add_columns(*columns)
        _: Worker[None] = self.run_worker(self._follow)

    async def _follow(self) -> None:
        # One read after the other: a process that does not answer delays the next read and never cancels one.
        while True:
            await self._read()
            await asyncio.sleep(UPDATE_SECONDS)

    async def _read(self) -> None:
        processes = await self._processes.read()
        try:
            rows = cluster_rows(await self._source.read_cluster())
        except Unavailable:
            self._show("The database is unavailable; these are the last values.", processes)
            return
        self._draw("partitions", rows.partitions)
        self._draw("workers", rows.workers)
        self._show(rows.summary, processes)

    def _show(self, summary: str, processes: Sequence[ProcessRates]) -> None:
        sockets = sum(each.sockets for each in processes)
        self._draw("processes", [Row("", _process_cells(each)) for each in processes])
        self.query_one("#summary", Static).update(
            Content(f"{summary}\n{len(processes)} processes answer here, with {sockets} sockets")
        )

    def _draw(self, name: str, rows: Sequence[Row]) -> None:
        table = self.query_one(f"#{name}", DataTable)
        table.clear()
        for row in rows:
            style = _STYLES.get(row.state, "")
            table.add_row(*(Text(sanitize_line(cell), style) for cell in row.cells))


def _process_cells(of: ProcessRates) -> tuple[str, ...]:
    return (
        of.url.removeprefix("http://"),
        str(of.sockets),
        *(f"{of.verbs[verb]:.1f}" for verb in VERBS),
        f"{of.requests:.1f}",
        f"{of.errors:.1f}",
        f"{of.lag_seconds * 1000:.1f}",
        f"{of.cpu:.0%}",
    )
