"""The drill of an operator: back up a running node, lose it, restore it under clients that are ahead. docs/operations.md, "After a restore"."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import aiohttp
import pytest

from scripts.nodes import ROOT, AllInOneProcess, VyryProcess, open_cluster
from tests.support.rest_device import Device, NodeClient
from tests.support.sdk_clients import pair
from vyry.client.api.client import Client
from vyry.client.store.events import Event, Lost, Message


pytestmark = pytest.mark.timeout(240)
E = TypeVar("E", bound=Event)
PROGRAM = (sys.executable, "-m", "vyry.cli.main")


@dataclass(frozen=True)
class Site:
    """A node or a cluster, whose first process has the data folder with the attachments."""

    processes: Sequence[VyryProcess]
    otp_file: Path

    @property
    def url(self) -> str:
        """Where clients talk to."""
        return self.processes[0].url

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return Path(self.processes[0].environment["VYRY_DATA_DIR"])

    def run(self, *words: str | Path) -> str:
        """A command of the operator, which has to work; returns what it prints."""
        done = subprocess.run(
            [*PROGRAM, *words],
            env={**self.processes[0].environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def acts(self) -> set[str]:
        """What the audit log has."""
        return {line.split()[3] for line in self.run("audit").splitlines()}

    def back_up(self, folder: Path) -> None:
        """What an operator does every night, while the nodes run."""
        public = self.run("backup", "keygen", folder / "key").strip()
        self.run("backup", folder / "one.backup", "--public-key", public)

    def crash_and_restore(self, folder: Path) -> None:
        """kill -9 of every process, restore, start."""
        for process in self.processes:
            process.kill()
        self.run("restore", folder / "one.backup", "--key-file", folder / "key", "--force", "--yes")
        for process in self.processes:
            process.start()


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "sqlite":
        with AllInOneProcess() as node:
            yield Site([node], node.otp_file)
        return
    with open_cluster(webs=1, workers=1) as cluster:
        yield Site(cluster.nodes, cluster.otp_file)


async def claimed_ids(claimer: Device, user_id: UUID) -> set[tuple[str, int]]:
    """The one-time keys of one claim."""
    bundle = (await claimer.call("POST", f"/keys/{user_id}/claim", {}))["bundles"][0]
    found = {("one-time", bundle["oneTimePrekey"]["id"])} if bundle["oneTimePrekey"] else set()
    return found | (set() if bundle["pqPrekeyIsLastResort"] else {("pq", bundle["pqPrekey"]["id"])})


async def claim_thrice(claimer: Device, user_id: UUID) -> set[tuple[str, int]]:
    """The one-time keys of three claims."""
    return {key for _ in range(3) for key in await claimed_ids(claimer, user_id)}


class Listener:
    """All events of a client, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Condition()

    async def listen(self, client: Client) -> None:
        """Read until cancelled."""
        async for event in client.events():
            async with self._news:
                self.events.append(event)
                self._news.notify_all()

    async def wait_for(self, kind: type[E], text: str = "") -> E:
        """The event of this kind, or with this text, as soon as it is there."""
        async with asyncio.timeout(60), self._news:
            while True:
                for event in self.events:
                    if isinstance(event, kind) and text in (str(event.body.get("text") or ""), ""):
                        return event
                await self._news.wait()

    @property
    def texts(self) -> list[str]:
        """The texts of all messages."""
        return [event.text for event in self.events if isinstance(event, Message)]


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[Listener]:
    listener = Listener()
    task = asyncio.create_task(listener.listen(client))
    yield listener
    task.cancel()


def new_photo(folder: Path) -> Path:
    photo = folder / "photo.jpg"
    photo.write_bytes(secrets.token_bytes(1 << 20))
    return photo


async def test_clients_that_are_ahead_of_a_restored_node_learn_it_and_go_on(
    site: Site, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    photo = await asyncio.to_thread(new_photo, tmp_path)
    async with pair(site, tmp_path) as (ann, bo, chat), listening(bo) as listener:
        dee = await NodeClient(http, site.url, site.otp_file).sign_up()
        await ann.files.send(chat, photo, "before the backup")
        pointer = (await listener.wait_for(Message, "before the backup")).attachments[0]
        await asyncio.to_thread(site.back_up, tmp_path)
        issued = await claim_thrice(dee, bo.user_id)
        await ann.send_text(chat, "after the backup")
        await listener.wait_for(Message, "after the backup")

        await asyncio.to_thread(site.crash_and_restore, tmp_path)

        assert (await listener.wait_for(Lost)).body["reason"] == "restored"
        again = await claim_thrice(dee, bo.user_id)
        await ann.send_text(chat, "after the restore")
        await listener.wait_for(Message, "after the restore")
        await bo.files.download(pointer, tmp_path / "fetched.jpg")

    assert listener.texts == ["before the backup", "after the backup", "after the restore"]
    assert (len(issued), issued & again) == (6, set())
    assert (tmp_path / "fetched.jpg").read_bytes() == photo.read_bytes()
    assert {"restore", "restored"} < await asyncio.to_thread(site.acts)
