"""The operator's page: what the database says of workers and partitions, live, for those who may see it, and never as HTML of a worker's making."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from scripts.services import free_port
from tests.support.browser import open_browser
from tests.support.node_server import NodeServer
from tests.support.worker_reports import ReportingWorker
from vyry.cli.admin_listener import serve_operator_listener
from vyry.mail.workers import PartitionReport
from vyry.operator.admin_server import MAX_STREAMS, AdminSources, serve_admin
from vyry.operator.cluster_watch import ClusterWatch
from vyry.operator.health import Health
from vyry.storage.database import open_database
from vyry.storage.partitions import PartitionStore


TOKEN = "correct-horse-battery-staple-0123456789"
UNREACHABLE = "postgres://nobody@127.0.0.1:1/nothing"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[str]:
    async with open_database(sqlite_url):
        yield sqlite_url


@asynccontextmanager
async def listening(database: str, host: str = "127.0.0.1", token: str = "") -> AsyncIterator[str]:
    """The operator's listener on this database; yields its URL on this machine."""
    sources = AdminSources(health=Health(database), cluster=ClusterWatch(PartitionStore()))
    async with serve_admin(host, free_port(), sources, token) as port:
        yield f"http://127.0.0.1:{port}"


async def read_event(answer: aiohttp.ClientResponse) -> dict[str, object]:
    line = await answer.content.readuntil(b"\n\n")
    event: dict[str, object] = json.loads(line.removeprefix(b"data: "))
    return event


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_page_shows_what_the_database_has_without_any_script(
    database: str, http: aiohttp.ClientSession
) -> None:
    await ReportingWorker("worker-a").join(0, 1, 2)

    async with listening(database) as url:
        text = await (await http.get(f"{url}/")).text()

    assert "4 partitions: 1 orphaned; 1 live workers" in text
    assert '<tr class="ok"><td>0</td><td>worker-a</td><td>host-1</td><td>ok</td>' in text
    assert '<tr class="orphaned"><td>3</td><td>-</td>' in text
    assert '<noscript><meta http-equiv="refresh"' in text


async def test_an_event_comes_each_second_and_shows_what_has_changed(
    database: str, http: aiohttp.ClientSession
) -> None:
    worker = ReportingWorker("worker-a")
    await worker.join(0, 1, 2, 3)

    async with listening(database) as url, http.get(f"{url}/events") as answer:
        before = await read_event(answer)
        await worker.report(PartitionReport(number=0, records_behind=77, seconds_behind=2.5, idle_seconds=0.0))
        events = [await read_event(answer) for _ in range(3)]

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "all ok" in str(before["summary"])
    assert events[-1]["tables"]["partitions"][0][1][8:10] == ["77", "2.5"]  # type: ignore[index]  # JSON


async def test_the_name_of_a_worker_is_text_wherever_it_is_shown(database: str, http: aiohttp.ClientSession) -> None:
    await ReportingWorker(HOSTILE, host="</td><script>1</script>").join(0)

    async with listening(database) as url:
        page = await (await http.get(f"{url}/")).text()

    assert "<img" not in page
    assert page.count("<script") == 1
    assert "&lt;img src=x onerror=&quot;" in page


async def test_every_answer_forbids_what_the_page_does_not_need(database: str, http: aiohttp.ClientSession) -> None:
    async with listening(database) as url:
        headers = [(await http.get(f"{url}{path}")).headers for path in ("/", "/page.js", "/page.css", "/metrics")]

    for each in headers:
        assert each["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in each["Content-Security-Policy"]
        assert each["X-Content-Type-Options"] == "nosniff"
        assert each["Cache-Control"] == "no-store"
        assert "Server" not in each


@pytest.mark.parametrize("path", ["/", "/events", "/page.js", "/page.css"])
async def test_without_a_token_other_machines_get_no_page(
    database: str, http: aiohttp.ClientSession, path: str
) -> None:
    async with listening(database, host="0.0.0.0") as url:
        page, metrics, ready = [await http.get(f"{url}{each}") for each in (path, "/metrics", "/ready")]

    assert page.status == (200 if path == "/page.css" else 403)
    assert (metrics.status, ready.status) == (200, 200)


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\xff" * 8])
async def test_a_wrong_token_opens_nothing(database: str, http: aiohttp.ClientSession, given: str) -> None:
    async with listening(database, token=TOKEN) as url:
        paths = ("/", "/events", "/page.js", "/metrics", "/mailbox", f"/?token={TOKEN}")
        by_header = [await http.get(f"{url}{path}", headers={"Authorization": f"Bearer {given}"}) for path in paths]
        by_cookie = [await http.get(f"{url}{path}", cookies={"vyry_admin": given}) for path in paths]
        by_form = await http.post(f"{url}/login", data={"token": given})

    assert {answer.status for answer in (*by_header, *by_cookie, by_form)} == {401}
    assert by_form.cookies == {}


async def test_the_token_opens_the_page_as_a_bearer_token_and_by_the_form(
    database: str, http: aiohttp.ClientSession
) -> None:
    async with listening(database, token=TOKEN) as url:
        metrics = await http.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        form = await http.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False)
        cookie = form.cookies["vyry_admin"]
        page = await http.get(f"{url}/", cookies={"vyry_admin": cookie.value})
        ready = await http.get(f"{url}/ready")

    assert (metrics.status, form.status, page.status, ready.status) == (200, 303, 200, 200)
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    assert TOKEN not in cookie.value


async def test_no_more_than_a_few_pages_are_kept_up_to_date(database: str, http: aiohttp.ClientSession) -> None:
    async with listening(database) as url:
        streams = [await http.get(f"{url}/events") for _ in range(MAX_STREAMS)]
        one_more = await http.get(f"{url}/events")
        for each in streams:
            each.close()

    assert one_more.status == 503


async def test_while_the_database_is_down_the_page_says_so(http: aiohttp.ClientSession) -> None:
    async with (
        open_database(UNREACHABLE),
        listening(UNREACHABLE) as url,
        http.get(f"{url}/events") as answer,
    ):
        page = await (await http.get(f"{url}/")).text()
        event = await read_event(answer)

    assert "The database is unavailable." in page
    assert (event["problem"], event["tables"]) == (True, {})


async def test_the_page_explains_a_mailbox_without_ids(
    sqlite_node_server: NodeServer, http: aiohttp.ClientSession
) -> None:
    ann, bo, together = await sqlite_node_server.sign_up_pair()
    await ann.post(together, bo, b"waits")
    settings = sqlite_node_server.settings.model_copy(update={"admin_port": free_port()})

    async with serve_operator_listener(settings, sqlite_node_server.services) as port:
        url = f"http://127.0.0.1:{port}"
        page = await (await http.get(f"{url}/")).text()
        found = await (await http.post(f"{url}/mailbox", data={"device": f"{bo.user_id}/1"})).text()
        unknown = await (await http.post(f"{url}/mailbox", data={"device": "<script>1</script>"})).text()
        empty = await http.post(f"{url}/mailbox", data={"device": " "})

    assert '<form method="post" action="mailbox">' in page
    assert "socket" in found
    assert bo.user_id not in found
    assert "names no device" in unknown
    assert "<script" not in unknown
    assert empty.status == 400


async def test_in_a_browser_the_table_follows_the_database_and_a_hostile_name_stays_text(
    database: str, tmp_path: Path
) -> None:
    worker = ReportingWorker(HOSTILE)
    await worker.join(0, 1)
    cells = "[...document.querySelectorAll('#partitions tr')].map(row => [...row.cells].map(cell => cell.textContent))"

    async with listening(database) as url, open_browser(tmp_path / "profile") as page:
        await page.open(f"{url}/")
        before = await page.evaluate(cells)
        await worker.report(PartitionReport(number=1, records_behind=77, idle_seconds=0.0))
        after = await page.wait_for(cells, lambda rows: rows[1][8] == "77")
        marks = await page.evaluate("[document.title, document.images.length, document.scripts.length]")

    assert (before[1][1], before[1][8], after[1][1]) == (HOSTILE, "0", HOSTILE)
    assert marks == ["Vyry", 0, 1]
    assert page.problems == []


async def test_in_a_browser_the_form_opens_the_page(database: str, tmp_path: Path) -> None:
    await ReportingWorker("worker-a").join(0, 1, 2, 3)

    async with listening(database, token=TOKEN) as url, open_browser(tmp_path / "profile") as page:
        await page.open(f"{url}/")
        await page.evaluate(
            f"document.querySelector('input').value = '{TOKEN}'; document.querySelector('form').submit()"
        )
        summary = await page.wait_for("document.querySelector('#summary')?.textContent", bool)

    assert summary.startswith("4 partitions: ")


async def test_in_a_browser_without_scripts_the_table_is_there(database: str, tmp_path: Path) -> None:
    await ReportingWorker("worker-a").join(0, 1, 2, 3)

    async with listening(database) as url, open_browser(tmp_path / "profile", has_scripts=False) as page:
        await page.call("Page.navigate", url=f"{url}/")
        text = await page.wait_for_text("worker-a")

    assert text.count("<td>worker-a</td>") == 5
