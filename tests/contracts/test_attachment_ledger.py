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
async def harness(mail_url: str | None) -> AsyncIterator[LedgerHarness]:
    async with open_stores(mail_url) as stores:
        ann, bo = [(await stores.sign_up(each * 64, refresh=each)).user_id for each in "ab"]
        if mail_url is None:
            memory = MemoryAttachments({ann, bo})
            yield LedgerHarness(memory, MemoryAttachmentUpkeep(memory), stores, ann, bo)
        else:
            yield LedgerHarness(TortoiseAttachments(), TortoiseAttachmentUpkeep(), stores, ann, bo)


async def test_what_was_begun_is_found_as_it_was(harness: LedgerHarness) -> None:
    begun = await harness.begun_upload()

    assert await harness.ledger.find(begun.attachment_id, NOON) == begun
    assert await harness.ledger.find_own(harness.ann, begun.attachment_id, NOON) == begun
    assert await harness.ledger.usage(harness.ann, NOON) == Usage(1, 1, 10)


async def test_of_fifty_begun_at_once_no_more_than_the_quota_are(harness: LedgerHarness) -> None:
    made = await asyncio.gather(*[harness.begin(100) for _ in range(50)])

    assert sum(each is not None for each in made) == 10
    assert await harness.ledger.usage(harness.ann, NOON) == Usage(10, 10, 1000)
    assert await harness.begin(100, harness.bo) is not None


@pytest.mark.parametrize("terms", [replace(TERMS, max_files=3), replace(TERMS, max_unfinished=3)])
async def test_there_is_an_end_to_how_many_there_are_whatever_their_size(
    harness: LedgerHarness, terms: AttachmentLimits
) -> None:
    made = [await harness.begin(0, terms=terms) for _ in range(5)]

    assert [each is not None for each in made] == [True, True, True, False, False]


async def test_nobody_who_is_gone_begins_one(harness: LedgerHarness) -> None:
    with pytest.raises(InvalidToken):
        await harness.begin(owner=UserId(new_id()))


async def test_others_can_neither_look_nor_add_nor_end(harness: LedgerHarness) -> None:
    begun = await harness.begun_upload()

    assert await harness.ledger.find_own(harness.bo, begun.attachment_id, NOON) is None
    assert await harness.ledger.claim_writer(harness.bo, begun.attachment_id, NOON) is None
    assert not await harness.ledger.expire(harness.bo, begun.attachment_id, NOON)
    assert await harness.ledger.find(begun.attachment_id, NOON) == begun


async def test_parts_and_times_are_kept(harness: LedgerHarness) -> None:
    taken = await harness.taken_up(await harness.begun_upload())
    parts = (Part("1-0", 7), Part("1-1", 3))
    longer = replace(taken, parts=parts, completed_at=NOON, expires_at=NOON + 30 * DAY)

    assert await harness.ledger.extend(longer, NOON)

    found = await harness.ledger.find(taken.attachment_id, NOON)
    assert found == longer
    assert found.received == 10
    assert await harness.ledger.usage(harness.ann, NOON) == Usage(1, 0, 10)


async def test_only_the_last_who_began_to_write_adds(harness: LedgerHarness) -> None:
    begun = await harness.begun_upload()
    first, last = await harness.taken_up(begun), await harness.taken_up(begun)

    assert not await harness.ledger.extend(replace(first, parts=(Part("1-0", 5),)), NOON)
    assert await harness.ledger.extend(replace(last, parts=(Part("2-0", 4),)), NOON)

    found = await harness.ledger.find(begun.attachment_id, NOON)
    assert found is not None
    assert found.parts == (Part("2-0", 4),)


async def test_nobody_adds_to_what_is_whole_or_over(harness: LedgerHarness) -> None:
    whole, over = (
        await harness.taken_up(await harness.begun_upload()),
        await harness.taken_up(await harness.begun_upload()),
    )
    done = replace(whole, parts=(Part("1-0", 10),), completed_at=NOON)
    assert await harness.ledger.extend(done, NOON)
    assert await harness.ledger.expire(harness.ann, over.attachment_id, NOON)

    assert not await harness.ledger.extend(done, NOON)
    assert not await harness.ledger.extend(over, NOON)


async def test_what_is_ended_or_expired_is_there_for_nobody_and_counts_no_more(harness: LedgerHarness) -> None:
    ended, old = await harness.begun_upload(), await harness.begun_upload()

    assert await harness.ledger.expire(harness.ann, ended.attachment_id, NOON)

    assert await harness.ledger.find(ended.attachment_id, NOON) is None
    assert not await harness.ledger.expire(harness.ann, ended.attachment_id, NOON)
    assert await harness.ledger.find(old.attachment_id, NOON + DAY) is None
    assert await harness.ledger.usage(harness.ann, NOON + DAY) == Usage(0, 0, 0)


async def test_the_sweeper_is_told_what_is_over_and_forgets_it(harness: LedgerHarness) -> None:
    ended, old = await harness.begun_upload(), await harness.begun_upload()
    await harness.ledger.expire(harness.ann, ended.attachment_id, NOON)
    ids = [ended.attachment_id, old.attachment_id]

    assert await harness.upkeep.list_expired(NOON, 9) == ids[:1]
    assert await harness.upkeep.list_expired(NOON + DAY, 1) == ids[:1]
    assert await harness.upkeep.find_existing([*ids, AttachmentId(new_id())]) == set(ids)
    await harness.upkeep.delete(ids[:1])
    assert await harness.upkeep.list_expired(NOON + DAY, 9) == ids[1:]


async def test_what_a_deleted_account_leaves_is_over_at_once(harness: LedgerHarness) -> None:
    if isinstance(harness.ledger, MemoryAttachments):
        return
    begun = await harness.begun_upload()
    taken = await harness.taken_up(begun)

    await harness.stores.deletion.delete(harness.ann, [], NOON + DAY / 2)

    assert await harness.ledger.find(begun.attachment_id, NOON) is None
    assert not await harness.ledger.extend(taken, NOON)
    assert await harness.upkeep.list_expired(NOON, 9) == [begun.attachment_id]
