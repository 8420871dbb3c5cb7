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
def room() -> AttachmentHarness:
    return AttachmentHarness()


def held(room: AttachmentHarness, one: AttachmentId) -> Collection[str]:
    """The names of its parts in the store."""
    return {name for key, name in room.store.parts if key == one}


async def test_what_is_answered_is_safe_and_the_last_byte_makes_it_whole(room: AttachmentHarness) -> None:
    one = await room.begin(10)

    half = await room.add(one, make_incoming(0, TEN[:4]))
    assert (half.received, half.completed_at) == (4, None)
    with pytest.raises(NotFound):
        await room.attachments.load_complete(one)
    whole = await room.add(one, make_incoming(4, TEN[4:]))

    assert (whole.received, whole.completed_at) == (10, room.clock.now())
    assert whole.expires_at - room.clock.now() == room.limits.lifetime
    assert await room.content(one) == TEN
    assert await room.content(one, 2, 5) == TEN[2:7]


async def test_of_a_long_request_each_part_is_safe_when_it_is_full(room: AttachmentHarness) -> None:
    content = bytes(range(256)) * (PART_BYTES // 128)
    one = await room.begin(len(content))

    async def watched() -> AsyncIterator[bytes]:
        yield content[: PART_BYTES + 5]
        assert (await room.attachments.load_own(room.ann.user_id, one)).received == PART_BYTES
        yield content[PART_BYTES + 5 :]

    await room.add(one, Incoming(0, watched()))

    assert await room.content(one) == content
    assert await room.content(one, PART_BYTES - 2, 4) == content[PART_BYTES - 2 : PART_BYTES + 2]


async def test_what_came_before_a_break_is_kept(room: AttachmentHarness) -> None:
    one = await room.begin(10)

    with pytest.raises(InvalidRequest):
        await room.add(one, broken_incoming(0, TEN[:3], TEN[3:6]))

    assert (await room.attachments.load_own(room.ann.user_id, one)).received == 6
    await room.add(one, make_incoming(6, TEN[6:]))
    assert await room.content(one) == TEN


async def test_of_what_has_a_checksum_all_counts_or_nothing(room: AttachmentHarness) -> None:
    content = bytes(PART_BYTES + 9)
    one = await room.begin(len(content))

    with pytest.raises(ChecksumMismatch):
        await room.add(one, with_checksum(make_incoming(0, content), TEN))
    with pytest.raises(InvalidRequest):
        await room.add(one, with_checksum(broken_incoming(0, content[: PART_BYTES + 3]), content))

    assert (await room.attachments.load_own(room.ann.user_id, one)).received == 0
    assert held(room, one) == set()
    await room.add(one, with_checksum(make_incoming(0, content), content))
    assert await room.content(one) == content


@pytest.mark.parametrize("offset", [0, 3, 5, 10])
async def test_elsewhere_than_at_the_end_nothing_is_added(room: AttachmentHarness, offset: int) -> None:
    one = await room.begin(10)
    await room.add(one, make_incoming(0, TEN[:4]))

    with pytest.raises(OffsetMismatch):
        await room.add(one, make_incoming(offset, b"x"))

    await room.add(one, make_incoming(4, TEN[4:]))
    assert await room.content(one) == TEN


async def test_more_than_was_announced_is_refused_at_once_or_when_it_comes(room: AttachmentHarness) -> None:
    one = await room.begin(10)

    with pytest.raises(PayloadTooLarge):
        await room.add(one, make_incoming(0, TEN + b"x"))
    with pytest.raises(PayloadTooLarge):
        await room.add(one, replace(make_incoming(0, TEN + b"x", 10), announced=None))

    assert (await room.attachments.load_own(room.ann.user_id, one)).completed_at is None


async def test_the_latest_writer_of_any_node_is_the_only_one(room: AttachmentHarness) -> None:
    other, content = AttachmentHarness(beside=room), bytes(range(256)) * (PART_BYTES // 128)
    one = await room.begin(len(content))

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"x" * (PART_BYTES - 1)
        await other.add(one, make_incoming(0, content[:100]))
        yield b"x" * 2

    with pytest.raises(OffsetMismatch):
        await room.add(one, Incoming(0, overtaken()))

    await other.add(one, make_incoming(100, content[100:]))
    assert await room.content(one) == content
    assert len(held(room, one)) <= 3


async def test_an_ended_upload_takes_no_more(room: AttachmentHarness) -> None:
    one = await room.begin(10)

    async def ended() -> AsyncIterator[bytes]:
        yield TEN[:5]
        await room.attachments.expire(room.ann.user_id, one)
        yield TEN[5:]

    with pytest.raises(OffsetMismatch):
        await room.add(one, Incoming(0, ended()))

    assert held(room, one) == set()


async def test_a_full_store_takes_nothing_and_loses_nothing(room: AttachmentHarness) -> None:
    one = await room.begin(10)
    await room.add(one, make_incoming(0, TEN[:4]))
    room.store.room = 5

    with pytest.raises(Unavailable):
        await room.add(one, make_incoming(4, TEN[4:]))

    room.store.room = 100
    await room.add(one, make_incoming(4, TEN[4:]))
    assert await room.content(one) == TEN


async def test_parts_stay_when_nobody_knows_whether_they_count(
    room: AttachmentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, extend = await room.begin(10), room.ledger.extend

    async def unanswered(longer: Attachment, now: datetime) -> bool:
        await extend(longer, now)
        raise Unavailable

    monkeypatch.setattr(room.ledger, "extend", unanswered)
    with pytest.raises(Unavailable):
        await room.add(one, make_incoming(0, TEN))

    assert await room.content(one) == TEN


async def test_when_it_is_whole_nothing_else_of_it_lies_about(room: AttachmentHarness) -> None:
    one = await room.begin(10)
    await room.store.put(one, "0-0", b"of somebody who crashed")

    await room.add(one, make_incoming(0, TEN))

    assert len(held(room, one)) == 1


async def test_what_cannot_be_tidied_up_is_no_failure(room: AttachmentHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable

    one = await room.begin(10)
    monkeypatch.setattr(MemoryParts, "clear", away)
    monkeypatch.setattr(MemoryParts, "drop", away)

    for number in range(10):
        await room.add(one, make_incoming(number, TEN[number : number + 1]))

    assert await room.content(one) == TEN


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=60), cuts=st.lists(st.integers(1, 99), max_size=3))
async def test_however_it_is_cut_it_is_the_same_and_its_parts_are_few(sizes: list[int], cuts: list[int]) -> None:
    room, content = AttachmentHarness(part_bytes=1000), bytes(number * 7 % 251 for number in range(sum(sizes)))
    one, at = await room.begin(len(content)), 0

    for size in sizes:
        await room.add(one, make_incoming(at, content[at : at + size], *sorted(cuts)))
        at += size
        found = await room.attachments.load_own(room.ann.user_id, one)
        assert len(found.parts) <= 2 * at / 1000 + log2(1000)
        assert held(room, one) == {part.name for part in found.parts}

    assert await room.content(one) == content


async def test_a_thousand_bytes_one_by_one_are_a_handful_of_parts(room: AttachmentHarness) -> None:
    one = await room.begin(1_001)

    for at in range(1_000):
        await room.add(one, make_incoming(at, b"x"))

    found = await room.attachments.load_own(room.ann.user_id, one)
    assert len(found.parts) <= log2(1_000)
