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
def harness() -> AttachmentHarness:
    return AttachmentHarness()


async def test_one_that_is_too_long_is_refused(harness: AttachmentHarness) -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        await harness.begin(10 * MIB + 1)

    assert refusal.value.members == {}


async def test_over_the_quota_it_is_told_how_much_there_is(harness: AttachmentHarness) -> None:
    await harness.begin(10 * MIB)
    last = await harness.begin(10 * MIB)

    with pytest.raises(PayloadTooLarge) as refusal:
        await harness.begin(1)

    assert refusal.value.members == {"quotaBytes": 20 * MIB, "usedBytes": 20 * MIB}
    await harness.attachments.expire(harness.ann.user_id, last)
    await harness.begin(10 * MIB)


async def test_what_the_quota_refuses_costs_nothing_of_the_day(harness: AttachmentHarness) -> None:
    for _ in range(2):
        await harness.begin(10 * MIB)
    for _ in range(60):
        with pytest.raises(PayloadTooLarge):
            await harness.begin(10 * MIB)

    await harness.attachments.expire(harness.ann.user_id, next(iter(harness.ledger.rows)))
    begun = await harness.attachments.create(harness.ann, 5)

    left = {name: grant.remaining for name, grant in begun.grants}
    assert left["upload"] >= 47
    assert left["upload_bytes"] == 1004 * MIB - 5


async def test_so_many_are_begun_in_a_while_whatever_is_ended_meanwhile(harness: AttachmentHarness) -> None:
    for _ in range(50):
        await harness.attachments.expire(harness.ann.user_id, await harness.begin(0))

    with pytest.raises(RateLimited):
        await harness.begin(0)


async def test_too_many_unfinished_ones_are_refused(harness: AttachmentHarness) -> None:
    for _ in range(5):
        await harness.begin(1)

    with pytest.raises(RateLimited, match="unfinished"):
        await harness.begin(1)


async def test_an_empty_one_is_whole_at_once(harness: AttachmentHarness) -> None:
    one = await harness.begin(0)

    assert await harness.content(one) == b""


async def test_others_may_fetch_what_is_whole_and_nothing_more(harness: AttachmentHarness) -> None:
    one = await harness.begin(3)
    await harness.add(one, make_incoming(0, b"abc"))

    assert await harness.content(one) == b"abc"
    for refused in (
        harness.attachments.load_own(harness.bo.user_id, one),
        harness.attachments.append(harness.bo.user_id, one, make_incoming(3, b"")),
        harness.attachments.expire(harness.bo.user_id, one),
    ):
        with pytest.raises(NotFound):
            await refused


async def hanging_upload(harness: AttachmentHarness) -> None:
    """An upload whose content never arrives."""
    one = await harness.begin(1)

    async def wait() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b"x"

    await harness.add(one, replace(make_incoming(0, b"x"), content=wait()))


async def test_an_upload_keeps_its_place_until_it_ends_however(harness: AttachmentHarness) -> None:
    small = AttachmentHarness(beside=harness, terms=replace(TERMS, max_unfinished=99))
    harness.attachments = small.attachments
    tasks = [asyncio.create_task(hanging_upload(harness)) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one = await harness.begin(1)
    with pytest.raises(RateLimited):
        await harness.add(one, make_incoming(0, b"x"))

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (await harness.add(one, make_incoming(0, b"x"))).completed_at


async def test_what_is_over_goes_with_its_bytes(harness: AttachmentHarness) -> None:
    unfinished, whole = await harness.begin(9), await harness.begin(3)
    await harness.add(unfinished, make_incoming(0, b"abc"))
    await harness.add(whole, make_incoming(0, b"abc"))

    harness.clock.advance(days=1)
    assert await harness.upkeep.delete_expired(100) == 1
    assert {key for key, _ in harness.store.parts} == {whole}
    harness.clock.advance(days=29)
    assert await harness.upkeep.delete_expired(100) == 1

    assert (harness.store.parts, harness.ledger.rows) == ({}, {})
    assert await harness.upkeep.delete_expired(100) == 0


async def test_a_row_stays_as_long_as_its_bytes_cannot_be_removed(
    harness: AttachmentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    one = await harness.begin(3)
    await harness.attachments.expire(harness.ann.user_id, one)
    with monkeypatch.context() as broken:
        broken.setattr(harness.store, "clear", away)
        with pytest.raises(Unavailable):
            await harness.upkeep.delete_expired(100)

    assert await harness.upkeep.delete_expired(100) == 1


async def test_bytes_without_a_row_go_and_those_of_an_upload_under_way_stay(harness: AttachmentHarness) -> None:
    one, gone = await harness.begin(9), AttachmentId(new_id())
    for each in (one, gone):
        await harness.store.put(each, "1-0", b"not entered yet, or never")

    await harness.upkeep.delete_orphans()

    assert {key for key, _ in harness.store.parts} == {one}


async def test_each_addition_gives_an_unfinished_one_another_day(harness: AttachmentHarness) -> None:
    one = await harness.begin(3)
    harness.clock.advance(hours=20)

    added = await harness.add(one, make_incoming(0, b"a"))

    assert added.expires_at == harness.clock.now() + timedelta(days=1)
