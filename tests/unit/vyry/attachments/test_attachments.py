"""Attachments: quotas, limits, slots and deletion."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.attachment_harness import TERMS, AttachmentHarness, make_incoming
from vyry.attachments.attachment import AttachmentId
from vyry.errors import NotFound, PayloadTooLarge, RateLimited, Unavailable
from vyry.kernel.ids import new_id


MIB = 1 << 20


@pytest.fixture
def room() -> AttachmentHarness:
    return AttachmentHarness()


async def test_one_that_is_too_long_is_refused(room: AttachmentHarness) -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        await room.begin(10 * MIB + 1)

    assert refusal.value.members == {}


async def test_over_the_quota_it_is_told_how_much_there_is(room: AttachmentHarness) -> None:
    await room.begin(10 * MIB)
    last = await room.begin(10 * MIB)

    with pytest.raises(PayloadTooLarge) as refusal:
        await room.begin(1)

    assert refusal.value.members == {"quotaBytes": 20 * MIB, "usedBytes": 20 * MIB}
    await room.attachments.expire(room.ann.user_id, last)
    await room.begin(10 * MIB)


async def test_what_the_quota_refuses_costs_nothing_of_the_day(room: AttachmentHarness) -> None:
    for _ in range(2):
        await room.begin(10 * MIB)
    for _ in range(60):
        with pytest.raises(PayloadTooLarge):
            await room.begin(10 * MIB)

    await room.attachments.expire(room.ann.user_id, next(iter(room.ledger.rows)))
    begun = await room.attachments.create(room.ann, 5)

    left = {name: grant.remaining for name, grant in begun.grants}
    assert left["upload"] >= 47
    assert left["upload_bytes"] == 1004 * MIB - 5


async def test_so_many_are_begun_in_a_while_whatever_is_ended_meanwhile(room: AttachmentHarness) -> None:
    for _ in range(50):
        await room.attachments.expire(room.ann.user_id, await room.begin(0))

    with pytest.raises(RateLimited):
        await room.begin(0)


async def test_too_many_unfinished_ones_are_refused(room: AttachmentHarness) -> None:
    for _ in range(5):
        await room.begin(1)

    with pytest.raises(RateLimited, match="unfinished"):
        await room.begin(1)


async def test_an_empty_one_is_whole_at_once(room: AttachmentHarness) -> None:
    one = await room.begin(0)

    assert await room.content(one) == b""


async def test_others_may_fetch_what_is_whole_and_nothing_more(room: AttachmentHarness) -> None:
    one = await room.begin(3)
    await room.add(one, make_incoming(0, b"abc"))

    assert await room.content(one) == b"abc"
    for refused in (
        room.attachments.load_own(room.bo.user_id, one),
        room.attachments.append(room.bo.user_id, one, make_incoming(3, b"")),
        room.attachments.expire(room.bo.user_id, one),
    ):
        with pytest.raises(NotFound):
            await refused


async def hanging_upload(room: AttachmentHarness) -> None:
    """An upload whose content never arrives."""
    one = await room.begin(1)

    async def wait() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b"x"

    await room.add(one, replace(make_incoming(0, b"x"), content=wait()))


async def test_an_upload_keeps_its_place_until_it_ends_however(room: AttachmentHarness) -> None:
    small = AttachmentHarness(beside=room, terms=replace(TERMS, max_unfinished=99))
    room.attachments = small.attachments
    tasks = [asyncio.create_task(hanging_upload(room)) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one = await room.begin(1)
    with pytest.raises(RateLimited):
        await room.add(one, make_incoming(0, b"x"))

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (await room.add(one, make_incoming(0, b"x"))).completed_at


async def test_what_is_over_goes_with_its_bytes(room: AttachmentHarness) -> None:
    unfinished, whole = await room.begin(9), await room.begin(3)
    await room.add(unfinished, make_incoming(0, b"abc"))
    await room.add(whole, make_incoming(0, b"abc"))

    room.clock.advance(days=1)
    assert await room.upkeep.delete_expired(100) == 1
    assert {key for key, _ in room.store.parts} == {whole}
    room.clock.advance(days=29)
    assert await room.upkeep.delete_expired(100) == 1

    assert (room.store.parts, room.ledger.rows) == ({}, {})
    assert await room.upkeep.delete_expired(100) == 0


async def test_a_row_stays_as_long_as_its_bytes_cannot_be_removed(
    room: AttachmentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    one = await room.begin(3)
    await room.attachments.expire(room.ann.user_id, one)
    with monkeypatch.context() as broken:
        broken.setattr(room.store, "clear", away)
        with pytest.raises(Unavailable):
            await room.upkeep.delete_expired(100)

    assert await room.upkeep.delete_expired(100) == 1


async def test_bytes_without_a_row_go_and_those_of_an_upload_under_way_stay(room: AttachmentHarness) -> None:
    one, gone = await room.begin(9), AttachmentId(new_id())
    for each in (one, gone):
        await room.store.put(each, "1-0", b"not entered yet, or never")

    await room.upkeep.delete_orphans()

    assert {key for key, _ in room.store.parts} == {one}


async def test_each_addition_gives_an_unfinished_one_another_day(room: AttachmentHarness) -> None:
    one = await room.begin(3)
    room.clock.advance(hours=20)

    added = await room.add(one, make_incoming(0, b"a"))

    assert added.expires_at == room.clock.now() + timedelta(days=1)
