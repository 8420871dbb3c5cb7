"""`vyry top` on real data: a node that works, workers that report, and what the screen shows of them."""

import asyncio
import socket
from collections.abc import Callable

from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from scripts.services import free_port
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer
from tests.support.worker_reports import ReportingWorker
from vyry.cli.top_screen import TopApp
from vyry.composition.monitoring import serve_admin_listener
from vyry.mail.workers import PartitionReport
from vyry.operator.process_metrics import ProcessMetrics, host_urls
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


def table(app: TopApp, name: str) -> list[list[str]]:
    """The texts of a table."""
    shown = app.query_one(f"#{name}", DataTable)
    return [[str(cell) for cell in shown.get_row_at(row)] for row in range(shown.row_count)]


def summary(app: TopApp) -> str:
    return str(app.query_one("#summary", Static).content)


async def wait_for(pilot: Pilot[None], claim: Callable[[], bool]) -> None:
    """Come back when the screen shows it."""
    for _ in range(200):
        if claim():
            return
        await pilot.pause(0.05)
    raise TimeoutError


async def test_the_screen_follows_workers_partitions_rates_and_sockets(sqlite_node_server: NodeServer) -> None:
    worker = ReportingWorker("worker-a")
    await worker.join(0, 1)
    ann, bo, together = await sqlite_node_server.sign_up_pair()
    settings = sqlite_node_server.settings.model_copy(update={"admin_port": free_port()})
    line = await DeviceSocket.connect_and_resume(bo)

    async with serve_admin_listener(settings, sqlite_node_server.services) as port:
        app = TopApp(PartitionStore(), ProcessMetrics(host_urls("127.0.0.1", port)[:1]))
        async with app.run_test(size=(200, 50)) as pilot:
            await wait_for(pilot, lambda: len(table(app, "processes")) == 1)
            await worker.report(*(PartitionReport(number=number, records_behind=77) for number in (0, 1)))
            await asyncio.gather(*(ann.post(together, bo, b"x") for _ in range(20)))
            await wait_for(pilot, lambda: table(app, "partitions")[0][8] == "77")
            await wait_for(pilot, lambda: float(table(app, "processes")[0][2]) > 0)
            shown = [table(app, name) for name in ("partitions", "workers", "processes")]
            text, width = summary(app), app.query_one("#processes", DataTable).ordered_columns[0].content_width
    await line.close()

    partitions, workers, processes = shown
    assert [partitions[1][:3], partitions[2][:4]] == [["1", "worker-a", "host-1"], ["2", "-", "-", "orphaned"]]
    assert [workers[0][0], workers[0][4], processes[0][1]] == ["worker-a", "2", "1"]
    assert (text.splitlines()[1], width) == ("1 processes answer here, with 1 sockets", len(processes[0][0]))


async def test_a_process_that_does_not_answer_hides_no_other(sqlite_node_server: NodeServer) -> None:
    settings = sqlite_node_server.settings.model_copy(update={"admin_port": free_port()})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with serve_admin_listener(settings, sqlite_node_server.services) as port:
            urls = [f"http://127.0.0.1:{each}" for each in (silent.getsockname()[1], port)]
            app = TopApp(PartitionStore(), ProcessMetrics(urls))
            async with app.run_test(size=(200, 50)) as pilot:
                await wait_for(pilot, lambda: [row[0] for row in table(app, "processes")] == [f"127.0.0.1:{port}"])


async def test_the_name_of_a_worker_changes_no_colour_and_no_line(sqlite_node_server: NodeServer) -> None:
    await ReportingWorker("[red]w\x1b[2J\n", host="h").join(0)

    app = TopApp(PartitionStore(), ProcessMetrics(()))
    async with app.run_test(size=(200, 50)) as pilot:
        await wait_for(pilot, lambda: len(table(app, "workers")) == 1)
        name = table(app, "workers")[0][0]

    assert "\x1b" not in name
    assert "\n" not in name
    assert name.startswith("[red]w")


async def test_while_the_database_is_down_the_screen_says_so_and_ends_on_q() -> None:
    async with open_database("postgres://nobody@127.0.0.1:1/nothing"):
        app = TopApp(PartitionStore(), ProcessMetrics(()))
        async with app.run_test() as pilot:
            await wait_for(pilot, lambda: "unavailable" in summary(app))
            await pilot.press("q")

    assert app.return_code == 0
