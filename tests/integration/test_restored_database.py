"""A database that was put back to an older state hands no one-time key out a second time: docs/operations.md, "After a restore"."""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from scripts.services import postgres_program
from tests.support.node_server import NodeBackends, NodeServer, open_node_server
from tests.support.rest_device import Body, Device, NodeClient, OutcomeUnknown
from vyry.clock import SystemClock
from vyry.devices.restore_detection import discard_all_keys
from vyry.errors import Unavailable
from vyry.operator.restore_marker import TortoiseRestoreMarkers
from vyry.storage.models import OperatorActionRow


def back_up(node_backends: NodeBackends) -> Path:
    """What an operator does every night, while the node runs."""
    copy = node_backends.folder / "backup"
    if node_backends.database.startswith("sqlite"):
        path = node_backends.database.removeprefix("sqlite://")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    else:
        subprocess.run([postgres_program("pg_dump"), "-Fc", "-f", copy, node_backends.database], check=True)
    return copy


def restore_database(node_backends: NodeBackends, copy: Path) -> None:
    """What an operator does after a disaster, while no node runs."""
    if node_backends.database.startswith("sqlite"):
        path = Path(node_backends.database.removeprefix("sqlite://"))
        for each in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            each.unlink(missing_ok=True)
        shutil.copy(copy, path)
    else:
        restore = ("--clean", "--if-exists", "--single-transaction", "-d", node_backends.database, str(copy))
        subprocess.run([str(postgres_program("pg_restore")), *restore], check=True)


@asynccontextmanager
async def restart_node(
    node_server: NodeServer, node_backends: NodeBackends, *people: Device
) -> AsyncIterator[NodeServer]:
    """The node started anew, with the same people."""
    async with open_node_server(node_backends) as opened:
        for device in people:
            device.node = NodeClient(opened.node.http, opened.node.url, node_server.node.otp_file)
        yield opened


async def claimed(ann: Device, bo: Device) -> tuple[int | None, int | None]:
    """The ids of the one-time keys of a claim; a node that is away for a moment is asked again."""
    for _ in range(20):
        with suppress(OutcomeUnknown):
            bundle: Body = (await ann.call("POST", f"/keys/{bo.user_id}/claim", {}))["bundles"][0]
            pq = None if bundle["pqPrekeyIsLastResort"] else bundle["pqPrekey"]["id"]
            return bundle["oneTimePrekey"] and bundle["oneTimePrekey"]["id"], pq
    raise AssertionError("no claim was answered")


async def people(node_server: NodeServer) -> tuple[Device, Device]:
    """Ann, and Bo with three keys of each kind."""
    ann, bo = await node_server.node.sign_up(), await node_server.node.sign_up()
    await bo.upload_keys(one_time=3, pq=3)
    return ann, bo


async def operator_acts() -> list[str]:
    return [row.act for row in await OperatorActionRow.all()]


async def test_after_a_restore_no_key_is_handed_out_a_second_time(node_backends: NodeBackends) -> None:
    async with open_node_server(node_backends) as house:
        ann, bo = await people(house)
        first = await claimed(ann, bo)
        copy = await asyncio.to_thread(back_up, node_backends)
        second = await claimed(ann, bo)
    await asyncio.to_thread(restore_database, node_backends, copy)

    async with restart_node(house, node_backends, ann, bo) as house:
        third = await claimed(ann, bo)
        status = await bo.call("GET", "/keys/status")
        more = await bo.call("POST", "/keys/prekeys", {"oneTimePrekeys": bo.keys.one_time_prekeys(1)})
        fourth = await claimed(ann, bo)
        noted = await operator_acts()

    last = first[0] + 2 if first[0] else 0
    assert (second[0], third, fourth[0]) == (last - 1, (None, None), last + 1)
    assert (status["oneTimeRemaining"], status["pqRemaining"], more["oneTimeRemaining"]) == (0, 0, 1)
    assert status["issuedThrough"]["oneTime"] == last
    assert noted == ["restored"]


async def test_the_devices_are_told_to_upload_anew(node_backends: NodeBackends) -> None:
    async with open_node_server(node_backends) as house:
        ann, bo = await people(house)
        copy = await asyncio.to_thread(back_up, node_backends)
        await claimed(ann, bo)
    await asyncio.to_thread(restore_database, node_backends, copy)

    async with restart_node(house, node_backends, ann, bo) as house:
        await claimed(ann, bo)
        await house.services.notice_poster.post_pending()
        page = await bo.collect(wait=10)

    low = {"name": "prekeysLow", "oneTimeRemaining": 0, "pqRemaining": 0}
    assert [entry["notice"] for entry in page["entries"]] == [low]


async def test_a_node_that_starts_again_burns_nothing(node_backends: NodeBackends) -> None:
    async with open_node_server(node_backends) as house:
        ann, bo = await people(house)
        first = await claimed(ann, bo)
    async with restart_node(house, node_backends, ann, bo) as house:
        await house.services.claim_ledger.begin_claim()
    async with restart_node(house, node_backends, ann, bo) as house:
        second = await claimed(ann, bo)
        noted = await operator_acts()

    assert first[0]
    assert (second[0], noted) == (first[0] + 1, [])


async def test_a_database_that_was_marked_by_a_restore_is_detected_once_and_without_a_marker_file(
    node_backends: NodeBackends,
) -> None:
    async with open_node_server(node_backends) as house:
        ann, bo = await people(house)
        await claimed(ann, bo)
        await TortoiseRestoreMarkers().mark_restored(SystemClock().now())
    (node_backends.folder / "witness").unlink()

    async with restart_node(house, node_backends, ann, bo) as house:
        after = await claimed(ann, bo)
    async with restart_node(house, node_backends, ann, bo) as house:
        await house.services.claim_ledger.begin_claim()
        noted = await operator_acts()

    assert (after, noted) == ((None, None), ["restored"])


async def test_a_restore_under_a_running_node_is_found_by_the_next_claim(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    place = NodeBackends(postgres_url, redis_url, tmp_path)
    async with open_node_server(place) as house:
        ann, bo = await people(house)
        copy = await asyncio.to_thread(back_up, place)
        await claimed(ann, bo)

        await asyncio.to_thread(restore_database, place, copy)

        assert await claimed(ann, bo) == (None, None)


async def test_postgres_tells_of_a_restore_also_to_a_node_with_a_new_folder(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    place = NodeBackends(postgres_url, redis_url, tmp_path)
    async with open_node_server(place) as house:
        ann, bo = await people(house)
        copy = await asyncio.to_thread(back_up, place)
        await claimed(ann, bo)
    await asyncio.to_thread(restore_database, place, copy)
    (tmp_path / "witness").unlink()

    async with restart_node(house, place, ann, bo):
        assert await claimed(ann, bo) == (None, None)


async def test_a_spoilt_witness_lets_no_key_out(sqlite_node_server: NodeServer) -> None:
    ann, bo = await people(sqlite_node_server)
    (sqlite_node_server.settings.data_dir / "witness").write_text("{}")

    with pytest.raises(Unavailable):
        await sqlite_node_server.services.claim_ledger.confirm_claim(
            await sqlite_node_server.services.claim_ledger.begin_claim()
        )
    with pytest.raises(OutcomeUnknown):
        await ann.call("POST", f"/keys/{bo.user_id}/claim", {})


async def test_what_the_operator_burns_stays_burned_and_the_last_resort_goes_on(sqlite_node_server: NodeServer) -> None:
    ann, bo = await people(sqlite_node_server)

    for _ in range(2):
        await discard_all_keys(TortoiseRestoreMarkers(), SystemClock().now())

    assert await claimed(ann, bo) == (None, None)
    assert (await bo.call("GET", "/keys/status"))["lastResortUses"] == 1
