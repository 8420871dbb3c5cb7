"""Contract of PartStore."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.s3_service import ACCESS_KEY, BUCKET, SECRET
from tests.fakes.attachments import MemoryParts
from vyry.attachments.attachment import AttachmentId, PartStore
from vyry.errors import Unavailable
from vyry.kernel.ids import new_id
from vyry.storage.attachment_disk import DiskParts
from vyry.storage.attachment_s3 import S3Location, open_s3_parts


@pytest.fixture(params=["memory", "disk", "s3"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], PartStore]:
    """Opens the same store again: as another node does, or this one after a crash."""
    if request.param == "memory":
        memory = MemoryParts()
        return lambda: memory
    if request.param == "disk":
        return lambda: DiskParts(tmp_path / "deep" / "attachments")
    server = request.getfixturevalue("s3")
    place = S3Location(BUCKET, f"tests/{tmp_path.name}", "us-east-1", ACCESS_KEY, SECRET, server.url)
    return lambda: open_s3_parts(place)


@pytest.fixture
def store(reopened: Callable[[], PartStore]) -> PartStore:
    """The store of one node."""
    return reopened()


def fresh() -> AttachmentId:
    return AttachmentId(new_id())


async def all_held(store: PartStore) -> set[AttachmentId]:
    """The attachments found in a whole round."""
    found, place = set[AttachmentId](), ""
    while True:
        ids, place = await store.list_attachments(place)
        found |= set(ids)
        if not place:
            return found


async def test_what_was_put_is_read_back_from_anywhere_also_by_others(
    store: PartStore, reopened: Callable[[], PartStore]
) -> None:
    one = fresh()
    await store.put(one, "1-0", bytearray(b"0123456789"))

    other = reopened()

    assert await other.read(one, "1-0", 0, 10) == b"0123456789"
    assert await other.read(one, "1-0", 3, 4) == b"3456"


async def test_bytes_that_are_not_there_are_unavailable_and_nothing_else(store: PartStore) -> None:
    one = fresh()
    await store.put(one, "1-0", b"0123456789")

    for name, start, length in (("1-1", 0, 1), ("1-0", 8, 5)):
        with pytest.raises(Unavailable):
            await store.read(one, name, start, length)
    with pytest.raises(Unavailable):
        await store.read(fresh(), "1-0", 0, 1)


async def test_a_dropped_part_is_gone_and_the_others_stay(store: PartStore) -> None:
    one = fresh()
    for name in ("1-0", "1-1"):
        await store.put(one, name, b"x")

    await store.drop(one, ["1-0", "never-there"])

    with pytest.raises(Unavailable):
        await store.read(one, "1-0", 0, 1)
    assert await store.read(one, "1-1", 0, 1) == b"x"


async def test_clearing_leaves_what_is_to_be_kept_and_other_attachments(store: PartStore) -> None:
    one, other = fresh(), fresh()
    for name in ("1-0", "1-1", "2-0"):
        await store.put(one, name, b"x")
    await store.put(other, "1-0", b"y")

    await store.clear(one, {"1-1"})
    assert await store.read(one, "1-1", 0, 1) == b"x"
    await store.clear(one)
    await store.clear(one)

    assert await all_held(store) == {other}
    for name in ("1-0", "1-1", "2-0"):
        with pytest.raises(Unavailable):
            await store.read(one, name, 0, 1)


async def test_a_round_finds_every_attachment_of_which_there_is_anything(store: PartStore) -> None:
    ids = {fresh() for _ in range(20)}
    await asyncio.gather(*[store.put(each, "1-0", b"x") for each in ids])
    some = next(iter(ids))

    await store.drop(some, ["1-0"])

    assert await all_held(store) == ids - {some}


async def test_a_disk_that_would_become_too_full_takes_nothing(tmp_path: Path) -> None:
    greedy = DiskParts(tmp_path, reserve_bytes=1 << 60)

    with pytest.raises(Unavailable, match="is full") as refusal:
        await greedy.check_capacity(1)
    with pytest.raises(Unavailable, match="is full"):
        await greedy.put(fresh(), "1-0", b"x")

    assert refusal.value.members["retry_after_seconds"] == 60


async def test_a_write_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    store, one = DiskParts(tmp_path), fresh()
    await store.put(one, "1-0", b"x")
    place = tmp_path / str(one)[-2:] / str(one)
    # Whatever is written there, the kernel finds no room for.
    (place / ".1-1").symlink_to("/dev/full")

    with pytest.raises(Unavailable, match="is full"):
        await store.put(one, "1-1", b"x")

    assert os.listdir(place) == ["1-0"]  # noqa: PTH208  as blocking as iterdir
    await store.put(one, "1-1", b"x")


async def test_a_part_half_written_is_none_and_goes_with_the_others(tmp_path: Path) -> None:
    store, one = DiskParts(tmp_path), fresh()
    await store.put(one, "1-0", b"x")
    place = tmp_path / str(one)[-2:] / str(one)
    (place / ".1-1").write_bytes(b"half")

    with pytest.raises(Unavailable):
        await store.read(one, "1-1", 0, 1)
    await store.clear(one, {"1-0"})

    assert os.listdir(place) == ["1-0"]  # noqa: PTH208  as blocking as iterdir


async def test_nobody_else_on_the_machine_reads_attachments(tmp_path: Path) -> None:
    await DiskParts(tmp_path / "attachments").put(fresh(), "1-0", b"x")

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "attachments").rglob("*")}

    assert modes | {(tmp_path / "attachments").stat().st_mode & 0o077} == {0}


async def test_an_s3_that_is_away_or_refuses_is_unavailable_and_tells_no_address(tmp_path: Path) -> None:
    nowhere = open_s3_parts(S3Location(BUCKET, "", "us-east-1", "who", "wrong", "http://127.0.0.1:9"))

    with pytest.raises(Unavailable) as refusal:
        await nowhere.put(fresh(), "1-0", b"x")

    assert "127.0.0.1" not in str(refusal.value)
    assert refusal.value.__cause__ is None
