"""Contract of attachment stores: AttachmentStore, AttachmentUpkeepStore."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.fakes.attachments import MemoryAttachments, MemoryAttachmentUpkeep
from tests.support.account_harness import AccountStores, open_stores
from tests.support.fake_clock import NOON
from vyry.attachments.attachment import (
    Attachment,
    AttachmentId,
    AttachmentLimits,
    AttachmentStore,
    AttachmentUpkeepStore,
    Part,
    Usage,
)
from vyry.errors import InvalidToken
from vyry.kernel.ids import UserId, new_id
from vyry.storage.attachments import TortoiseAttachments, TortoiseAttachmentUpkeep


DAY = timedelta(days=1)
TERMS = AttachmentLimits(quota_bytes=1000, max_unfinished=60, max_files=70)


@dataclass(slots=True)
class LedgerHarness:
    """A store with two accounts."""

    ledger: AttachmentStore
    upkeep: AttachmentUpkeepStore
    stores: AccountStores
    ann: UserId
    bo: UserId

    async def begin(
        self, length: int = 10, owner: UserId | None = None, terms: AttachmentLimits = TERMS
    ) -> Attachment | None:
        """A new attachment; None if it would exceed the limits."""
        new = Attachment(attachment_id=AttachmentId(new_id()), length=length, created_at=NOON, expires_at=NOON + DAY)
        return new if await self.ledger.create(owner or self.ann, new, terms) else None

    async def begun_upload(self, length: int = 10) -> Attachment:
        """A new attachment within the limits."""
        new = await self.begin(length)
        assert new is not None
        return new

    async def taken_up(self, attachment: Attachment) -> Attachment:
        """Claim it for Ann as its writer."""
        found = await self.ledger.claim_writer(self.ann, attachment.attachment_id, NOON)
        assert found is not None
        return found


@pytest.fixture
async def room(mail_url: str | None) -> AsyncIterator[LedgerHarness]:
    async with open_stores(mail_url) as stores:
        ann, bo = [(await stores.sign_up(each * 64, refresh=each)).user_id for each in "ab"]
        if mail_url is None:
            memory = MemoryAttachments({ann, bo})
            yield LedgerHarness(memory, MemoryAttachmentUpkeep(memory), stores, ann, bo)
        else:
            yield LedgerHarness(TortoiseAttachments(), TortoiseAttachmentUpkeep(), stores, ann, bo)


async def test_what_was_begun_is_found_as_it_was(room: LedgerHarness) -> None:
    begun = await room.begun_upload()

    assert await room.ledger.find(begun.attachment_id, NOON) == begun
    assert await room.ledger.find_own(room.ann, begun.attachment_id, NOON) == begun
    assert await room.ledger.usage(room.ann, NOON) == Usage(1, 1, 10)


async def test_of_fifty_begun_at_once_no_more_than_the_quota_are(room: LedgerHarness) -> None:
    made = await asyncio.gather(*[room.begin(100) for _ in range(50)])

    assert sum(each is not None for each in made) == 10
    assert await room.ledger.usage(room.ann, NOON) == Usage(10, 10, 1000)
    assert await room.begin(100, room.bo) is not None


@pytest.mark.parametrize("terms", [replace(TERMS, max_files=3), replace(TERMS, max_unfinished=3)])
async def test_there_is_an_end_to_how_many_there_are_whatever_their_size(
    room: LedgerHarness, terms: AttachmentLimits
) -> None:
    made = [await room.begin(0, terms=terms) for _ in range(5)]

    assert [each is not None for each in made] == [True, True, True, False, False]


async def test_nobody_who_is_gone_begins_one(room: LedgerHarness) -> None:
    with pytest.raises(InvalidToken):
        await room.begin(owner=UserId(new_id()))


async def test_others_can_neither_look_nor_add_nor_end(room: LedgerHarness) -> None:
    begun = await room.begun_upload()

    assert await room.ledger.find_own(room.bo, begun.attachment_id, NOON) is None
    assert await room.ledger.claim_writer(room.bo, begun.attachment_id, NOON) is None
    assert not await room.ledger.expire(room.bo, begun.attachment_id, NOON)
    assert await room.ledger.find(begun.attachment_id, NOON) == begun


async def test_parts_and_times_are_kept(room: LedgerHarness) -> None:
    taken = await room.taken_up(await room.begun_upload())
    parts = (Part("1-0", 7), Part("1-1", 3))
    longer = replace(taken, parts=parts, completed_at=NOON, expires_at=NOON + 30 * DAY)

    assert await room.ledger.extend(longer, NOON)

    found = await room.ledger.find(taken.attachment_id, NOON)
    assert found == longer
    assert found.received == 10
    assert await room.ledger.usage(room.ann, NOON) == Usage(1, 0, 10)


async def test_only_the_last_who_began_to_write_adds(room: LedgerHarness) -> None:
    begun = await room.begun_upload()
    first, last = await room.taken_up(begun), await room.taken_up(begun)

    assert not await room.ledger.extend(replace(first, parts=(Part("1-0", 5),)), NOON)
    assert await room.ledger.extend(replace(last, parts=(Part("2-0", 4),)), NOON)

    found = await room.ledger.find(begun.attachment_id, NOON)
    assert found is not None
    assert found.parts == (Part("2-0", 4),)


async def test_nobody_adds_to_what_is_whole_or_over(room: LedgerHarness) -> None:
    whole, over = await room.taken_up(await room.begun_upload()), await room.taken_up(await room.begun_upload())
    done = replace(whole, parts=(Part("1-0", 10),), completed_at=NOON)
    assert await room.ledger.extend(done, NOON)
    assert await room.ledger.expire(room.ann, over.attachment_id, NOON)

    assert not await room.ledger.extend(done, NOON)
    assert not await room.ledger.extend(over, NOON)


async def test_what_is_ended_or_expired_is_there_for_nobody_and_counts_no_more(room: LedgerHarness) -> None:
    ended, old = await room.begun_upload(), await room.begun_upload()

    assert await room.ledger.expire(room.ann, ended.attachment_id, NOON)

    assert await room.ledger.find(ended.attachment_id, NOON) is None
    assert not await room.ledger.expire(room.ann, ended.attachment_id, NOON)
    assert await room.ledger.find(old.attachment_id, NOON + DAY) is None
    assert await room.ledger.usage(room.ann, NOON + DAY) == Usage(0, 0, 0)


async def test_the_sweeper_is_told_what_is_over_and_forgets_it(room: LedgerHarness) -> None:
    ended, old = await room.begun_upload(), await room.begun_upload()
    await room.ledger.expire(room.ann, ended.attachment_id, NOON)
    ids = [ended.attachment_id, old.attachment_id]

    assert await room.upkeep.list_expired(NOON, 9) == ids[:1]
    assert await room.upkeep.list_expired(NOON + DAY, 1) == ids[:1]
    assert await room.upkeep.find_existing([*ids, AttachmentId(new_id())]) == set(ids)
    await room.upkeep.delete(ids[:1])
    assert await room.upkeep.list_expired(NOON + DAY, 9) == ids[1:]


async def test_what_a_deleted_account_leaves_is_over_at_once(room: LedgerHarness) -> None:
    if isinstance(room.ledger, MemoryAttachments):
        return
    begun = await room.begun_upload()
    taken = await room.taken_up(begun)

    await room.stores.deletion.delete(room.ann, [], NOON + DAY / 2)

    assert await room.ledger.find(begun.attachment_id, NOON) is None
    assert not await room.ledger.extend(taken, NOON)
    assert await room.upkeep.list_expired(NOON, 9) == [begun.attachment_id]
