"""Appending to an attachment: after any interruption, acknowledged bytes are durable and no others count."""

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import datetime
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.attachments import MemoryParts
from tests.support.attachment_harness import AttachmentHarness, broken_incoming, make_incoming, with_checksum
from vyry.attachments.attachment import PART_BYTES, Attachment, AttachmentId
from vyry.attachments.upload import Incoming
from vyry.errors import ChecksumMismatch, InvalidRequest, NotFound, OffsetMismatch, PayloadTooLarge, Unavailable


TEN = b"0123456789"


@pytest.fixture
def harness() -> AttachmentHarness:
    return AttachmentHarness()


def held(harness: AttachmentHarness, one: AttachmentId) -> Collection[str]:
    """The names of its parts in the store."""
    return {name for key, name in harness.store.parts if key == one}


async def test_what_is_answered_is_safe_and_the_last_byte_makes_it_whole(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)

    half = await harness.add(one, make_incoming(0, TEN[:4]))
    assert (half.received, half.completed_at) == (4, None)
    with pytest.raises(NotFound):
        await harness.attachments.load_complete(one)
    whole = await harness.add(one, make_incoming(4, TEN[4:]))

    assert (whole.received, whole.completed_at) == (10, harness.clock.now())
    assert whole.expires_at - harness.clock.now() == harness.limits.lifetime
    assert await harness.content(one) == TEN
    assert await harness.content(one, 2, 5) == TEN[2:7]


async def test_of_a_long_request_each_part_is_safe_when_it_is_full(harness: AttachmentHarness) -> None:
    content = bytes(range(256)) * (PART_BYTES // 128)
    one = await harness.begin(len(content))

    async def watched() -> AsyncIterator[bytes]:
        yield content[: PART_BYTES + 5]
        assert (await harness.attachments.load_own(harness.ann.user_id, one)).received == PART_BYTES
        yield content[PART_BYTES + 5 :]

    await harness.add(one, Incoming(0, watched()))

    assert await harness.content(one) == content
    assert await harness.content(one, PART_BYTES - 2, 4) == content[PART_BYTES - 2 : PART_BYTES + 2]


async def test_what_came_before_a_break_is_kept(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)

    with pytest.raises(InvalidRequest):
        await harness.add(one, broken_incoming(0, TEN[:3], TEN[3:6]))

    assert (await harness.attachments.load_own(harness.ann.user_id, one)).received == 6
    await harness.add(one, make_incoming(6, TEN[6:]))
    assert await harness.content(one) == TEN


async def test_of_what_has_a_checksum_all_counts_or_nothing(harness: AttachmentHarness) -> None:
    content = bytes(PART_BYTES + 9)
    one = await harness.begin(len(content))

    with pytest.raises(ChecksumMismatch):
        await harness.add(one, with_checksum(make_incoming(0, content), TEN))
    with pytest.raises(InvalidRequest):
        await harness.add(one, with_checksum(broken_incoming(0, content[: PART_BYTES + 3]), content))

    assert (await harness.attachments.load_own(harness.ann.user_id, one)).received == 0
    assert held(harness, one) == set()
    await harness.add(one, with_checksum(make_incoming(0, content), content))
    assert await harness.content(one) == content


@pytest.mark.parametrize("offset", [0, 3, 5, 10])
async def test_elsewhere_than_at_the_end_nothing_is_added(harness: AttachmentHarness, offset: int) -> None:
    one = await harness.begin(10)
    await harness.add(one, make_incoming(0, TEN[:4]))

    with pytest.raises(OffsetMismatch):
        await harness.add(one, make_incoming(offset, b"x"))

    await harness.add(one, make_incoming(4, TEN[4:]))
    assert await harness.content(one) == TEN


async def test_more_than_was_announced_is_refused_at_once_or_when_it_comes(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)

    with pytest.raises(PayloadTooLarge):
        await harness.add(one, make_incoming(0, TEN + b"x"))
    with pytest.raises(PayloadTooLarge):
        await harness.add(one, replace(make_incoming(0, TEN + b"x", 10), announced=None))

    assert (await harness.attachments.load_own(harness.ann.user_id, one)).completed_at is None


async def test_the_latest_writer_of_any_node_is_the_only_one(harness: AttachmentHarness) -> None:
    other, content = AttachmentHarness(beside=harness), bytes(range(256)) * (PART_BYTES // 128)
    one = await harness.begin(len(content))

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"x" * (PART_BYTES - 1)
        await other.add(one, make_incoming(0, content[:100]))
        yield b"x" * 2

    with pytest.raises(OffsetMismatch):
        await harness.add(one, Incoming(0, overtaken()))

    await other.add(one, make_incoming(100, content[100:]))
    assert await harness.content(one) == content
    assert len(held(harness, one)) <= 3


async def test_an_ended_upload_takes_no_more(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)

    async def ended() -> AsyncIterator[bytes]:
        yield TEN[:5]
        await harness.attachments.expire(harness.ann.user_id, one)
        yield TEN[5:]

    with pytest.raises(OffsetMismatch):
        await harness.add(one, Incoming(0, ended()))

    assert held(harness, one) == set()


async def test_a_full_store_takes_nothing_and_loses_nothing(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)
    await harness.add(one, make_incoming(0, TEN[:4]))
    harness.store.room = 5

    with pytest.raises(Unavailable):
        await harness.add(one, make_incoming(4, TEN[4:]))

    harness.store.room = 100
    await harness.add(one, make_incoming(4, TEN[4:]))
    assert await harness.content(one) == TEN


async def test_parts_stay_when_nobody_knows_whether_they_count(
    harness: AttachmentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, extend = await harness.begin(10), harness.ledger.extend

    async def unanswered(longer: Attachment, now: datetime) -> bool:
        await extend(longer, now)
        raise Unavailable

    monkeypatch.setattr(harness.ledger, "extend", unanswered)
    with pytest.raises(Unavailable):
        await harness.add(one, make_incoming(0, TEN))

    assert await harness.content(one) == TEN


async def test_when_it_is_whole_nothing_else_of_it_lies_about(harness: AttachmentHarness) -> None:
    one = await harness.begin(10)
    await harness.store.put(one, "0-0", b"of somebody who crashed")

    await harness.add(one, make_incoming(0, TEN))

    assert len(held(harness, one)) == 1


async def test_what_cannot_be_tidied_up_is_no_failure(
    harness: AttachmentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    one = await harness.begin(10)
    monkeypatch.setattr(MemoryParts, "clear", away)
    monkeypatch.setattr(MemoryParts, "drop", away)

    for number in range(10):
        await harness.add(one, make_incoming(number, TEN[number : number + 1]))

    assert await harness.content(one) == TEN


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=60), cuts=st.lists(st.integers(1, 99), max_size=3))
async def test_however_it_is_cut_it_is_the_same_and_its_parts_are_few(sizes: list[int], cuts: list[int]) -> None:
    harness, content = AttachmentHarness(part_bytes=1000), bytes(number * 7 % 251 for number in range(sum(sizes)))
    one, at = await harness.begin(len(content)), 0

    for size in sizes:
        await harness.add(one, make_incoming(at, content[at : at + size], *sorted(cuts)))
        at += size
        found = await harness.attachments.load_own(harness.ann.user_id, one)
        assert len(found.parts) <= 2 * at / 1000 + log2(1000)
        assert held(harness, one) == {part.name for part in found.parts}

    assert await harness.content(one) == content


async def test_a_thousand_bytes_one_by_one_are_a_handful_of_parts(harness: AttachmentHarness) -> None:
    one = await harness.begin(1_001)

    for at in range(1_000):
        await harness.add(one, make_incoming(at, b"x"))

    found = await harness.attachments.load_own(harness.ann.user_id, one)
    assert len(found.parts) <= log2(1_000)
