"""A real Prometheus scrapes a node and evaluates ops/alerts.yml: it accepts the metrics, and the alerts say what is so."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from scripts.services import free_port
from tests.support.node_server import NodeServer
from tests.support.paths import ROOT
from tests.support.worker_reports import ReportingWorker
from vyry.composition.monitoring import serve_admin_listener


TOKEN = "correct-horse-battery-staple-0123456789"


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[str]:
    """Prometheus with the rules of ops/, which scrapes this port every two seconds; yields its URL.

    One scrape that fails starts the waiting time of an alert again, and the metrics of a process that has run all tests are long.
    """
    config = yaml.safe_load((ROOT / "ops/prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(ROOT / "ops/alerts.yml")]
    scrape = config["scrape_configs"][0]
    del scrape["dns_sd_configs"]
    scrape |= {"static_configs": [{"targets": [f"127.0.0.1:{target}"]}], "authorization": {"credentials": TOKEN}}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    program = shutil.which("prometheus")
    assert program is not None, "Prometheus is missing: run scripts/install-services"
    url = f"127.0.0.1:{free_port()}"
    options = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={url}",
    )
    process = await asyncio.create_subprocess_exec(program, *options, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield f"http://{url}"
    finally:
        process.terminate()
        await process.wait()


async def wait_for(url: str, claim: Callable[[Any], bool]) -> Any:
    """The data of an answer of Prometheus once the claim holds for it."""
    async with aiohttp.ClientSession() as http:
        for _ in range(300):
            try:
                found = (await (await http.get(url)).json())["data"]
            except (aiohttp.ClientError, ValueError):
                found = None
            if found is not None and claim(found):
                return found
            await asyncio.sleep(0.1)
    raise TimeoutError(url)


@pytest.mark.timeout(120)
async def test_prometheus_reads_every_metric_and_fires_when_no_worker_lives(
    sqlite_node_server: NodeServer, tmp_path: Path
) -> None:
    await ReportingWorker("worker-a").join(0, 1)
    (tmp_path / "token").write_text(TOKEN)
    names = {"admin_port": free_port(), "admin_token_file": tmp_path / "token"}
    settings = sqlite_node_server.settings.model_copy(update=names)

    async with (
        serve_admin_listener(settings, sqlite_node_server.services) as port,
        prometheus(tmp_path, port) as url,
    ):
        rules = await wait_for(
            f"{url}/api/v1/rules", lambda found: all(rule["health"] == "ok" for rule in listed(found))
        )
        # The worker writes no further heartbeat.
        alerts = await wait_for(f"{url}/api/v1/alerts", lambda found: "VyryNoWorker" in firing(found))
        up = await wait_for(f"{url}/api/v1/query?query=up", lambda found: bool(found["result"]))

    assert [(each["metric"]["job"], each["value"][1]) for each in up["result"]] == [("vyry", "1")]
    assert len(listed(rules)) > 20
    assert firing(alerts) >= {"VyryNoWorker"}


def listed(found: Any) -> list[Any]:
    """The rules of all groups."""
    return [rule for group in found["groups"] for rule in group["rules"]]


def firing(found: Any) -> set[str]:
    """The names of the alerts that fire."""
    return {each["labels"]["alertname"] for each in found["alerts"] if each["state"] == "firing"}
