"""From the previous release to this one and back, process by process, with mail under way: both serve one database, one Redis and one Kafka."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import ROOT, Cluster, VyryProcess, migrate, open_cluster
from tests.support.rest_device import NodeClient
from tests.support.traffic import Traffic, traffic
from vyry.storage.migrator import applied_migrations


pytestmark = pytest.mark.timeout(600)
NEWEST_STEP = max(path.name for path in (ROOT / "migrations").glob("[0-9]*.py"))
PACKAGES = ("vyry", "web", "agents", "migrations")


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def previous_commit() -> str | None:
    """The newest commit of this line that lacks the newest migration: what runs while a release with that migration is rolled out."""
    for commit in git("rev-list", "--first-parent", "HEAD").decode().split():
        steps = git("ls-tree", "--name-only", commit, "migrations/").decode().split()
        if f"migrations/{NEWEST_STEP}" not in steps:
            return commit
    return None


@pytest.fixture(scope="module")
def previous_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release. A shallow clone has none: then this release is rolled over itself."""
    commit = previous_commit()
    if commit is None:
        return ROOT
    folder = tmp_path_factory.mktemp("previous")
    packed = git("archive", "--format=tar", commit, *PACKAGES)
    subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
    return folder


def steps_of(source: Path) -> set[str]:
    """The names of the migrations of a release."""
    return {path.stem for path in (source / "migrations").glob("[0-9]*.py")}


@pytest.fixture
def old_cluster(previous_source: Path) -> Iterator[Cluster]:
    """Two web nodes and two workers of the previous release."""
    with open_cluster(webs=2, workers=2, source=previous_source) as made:
        yield made


async def roll(cluster: Cluster, source: Path, under: Traffic) -> list[float]:
    """Replace one web node and one worker after the other by those of that release; returns what each deposited before its end."""
    deposited = []
    for pair in zip(cluster.workers, cluster.webs, strict=True):
        deposited += [process.metrics()["vyry_deposit_total"] for process in pair]
        await asyncio.gather(*(asyncio.to_thread(restart, process, source) for process in pair))
        await under.wait_for_progress(40, seconds=60)
    return deposited


def restart(process: VyryProcess, source: Path) -> None:
    """The same process of another release."""
    process.stop()
    process.environment["PYTHONPATH"] = str(source)
    process.start()


async def test_an_upgrade_and_the_way_back_lose_nothing_and_refuse_nothing(
    old_cluster: Cluster, previous_source: Path, http: aiohttp.ClientSession
) -> None:
    url = old_cluster.postgres.url
    before = await applied_migrations(url)
    nodes = [NodeClient(http, web.url, old_cluster.otp_file) for web in old_cluster.webs]
    async with traffic(nodes, "rolling") as under:
        await under.wait_for_progress(40, seconds=60)
        await asyncio.to_thread(migrate, {**old_cluster.webs[0].environment, "PYTHONPATH": str(ROOT)})
        await under.wait_for_progress(40, seconds=60)
        by_previous = await roll(old_cluster, ROOT, under)
        by_this = await roll(old_cluster, previous_source, under)
        violations = await under.stop_and_check(90)

    assert violations == []
    assert [kind for kind in under.failure_counts if kind.startswith("refused")] == []
    assert set(before) == steps_of(previous_source)
    assert set(await applied_migrations(url)) == steps_of(ROOT)
    assert min(*by_previous, *by_this) > 0
