"""What every mail store promises to an operator who drops entries: numbered losses in a valid chain, once, with a line in the log."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.fakes.mail import MemoryMailUpkeep
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness, contents_of, expected_heads, make_message
from vyry.accounts.events import OperatorAction
from vyry.kernel.ids import MailboxKey, UserId
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import Acknowledgement, CopyState, Deposited, DropRequest, DropResult, MailStore
from vyry.operator.audit import read_acts


SUBJECT = UUID(int=5)
ACT = OperatorAction(NOON, "olga", "mailboxDrop", "poisoned client", SUBJECT)


async def logged(harness: MailStoreHarness) -> list[OperatorAction]:
    """The lines of the audit log."""
    if isinstance(harness.upkeep, MemoryMailUpkeep):
        return harness.upkeep.state.acts
    return [each async for each in read_acts(None)]


async def test_dropped_entries_are_losses_in_the_same_chain(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    deposited = await mail_harness.post_and_deposit(box, b"1", b"2", b"3", b"4")

    result = await mail_harness.upkeep.drop(DropRequest(box, 2, 3), ACT)

    entries = await mail_harness.numbered_entries(box)
    assert result == DropResult(2)
    assert [(each.seq, each.head) for each in entries] == [(each.seq, each.head) for each in deposited]
    assert [each.loss_reason for each in entries] == [None, LossReason.OPERATOR, LossReason.OPERATOR, None]
    assert contents_of(entries) == [b"1", None, None, b"4"]
    assert await mail_harness.registry.count_contents() == 2
    assert await mail_harness.acknowledge(box, 4, deposited[3].head) is not None
    assert await logged(mail_harness) == [ACT]


async def test_the_sender_sees_dropped_also_after_the_loss_was_acknowledged(mail_harness: MailStoreHarness) -> None:
    user = UserId(uuid4())
    sender, box = await mail_harness.add_mailbox(user), await mail_harness.add_mailbox()
    message = make_message(box, sender=sender)
    await mail_harness.post(message)
    (entry,) = await mail_harness.store.deposit([box])

    await mail_harness.upkeep.drop(DropRequest(box, 1, 1), ACT)
    before = await mail_harness.upkeep.copy_statuses(user, message.message_id)
    await mail_harness.acknowledge(box, 1, entry.head)
    after = await mail_harness.upkeep.copy_statuses(user, message.message_id)

    assert [each.state for each in before or []] == [CopyState.DROPPED]
    assert after == before


async def test_a_second_drop_changes_nothing_and_is_not_logged(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"1")
    await mail_harness.upkeep.drop(DropRequest(box, 1, 1), ACT)

    assert await mail_harness.upkeep.drop(DropRequest(box, 1, 9), ACT) == DropResult(0)
    assert len(await logged(mail_harness)) == 1


async def test_losses_expired_acknowledged_and_unnumbered_mail_stay_as_they_are(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    (first, *_) = await mail_harness.post_and_deposit(box, b"read", b"parked")
    await mail_harness.acknowledge(box, 1, first.head)
    await mail_harness.store.discard(box, 2)
    await mail_harness.post(make_message(box, lifetime=timedelta(seconds=1)))
    await mail_harness.store.deposit([box])
    mail_harness.clock.advance(seconds=2)
    await mail_harness.post(make_message(box, text=b"later", at=mail_harness.clock.now()))

    result = await mail_harness.upkeep.drop(DropRequest(box, 1, 9), ACT)

    await mail_harness.store.deposit([box])
    entries = await mail_harness.numbered_entries(box)
    assert (result, await logged(mail_harness)) == (DropResult(0), [])
    assert [each.loss_reason for each in entries] == [LossReason.PARKED, LossReason.EXPIRED, None]


async def test_a_notice_in_the_range_prevents_the_drop_unless_it_is_included(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box), make_message(box, lane=Lane.NOTICE), make_message(box))
    await mail_harness.store.deposit([box])

    refused = await mail_harness.upkeep.drop(DropRequest(box, 1, 3), ACT)
    untouched = await mail_harness.numbered_entries(box)
    beside = await mail_harness.upkeep.drop(DropRequest(box, 3, 3), ACT)
    included = await mail_harness.upkeep.drop(DropRequest(box, 1, 3, includes_notices=True), ACT)

    assert (refused, beside, included) == (DropResult(0, 1), DropResult(1), DropResult(2))
    assert [each.loss_reason for each in untouched] == [None] * 3


async def test_a_content_that_another_mailbox_has_too_stays(mail_harness: MailStoreHarness) -> None:
    box, other = await mail_harness.add_mailbox(), await mail_harness.add_mailbox()
    await mail_harness.post(make_message(box, other), make_message(box))
    await mail_harness.store.deposit([box, other])

    await mail_harness.upkeep.drop(DropRequest(box, 1, 2), ACT)

    assert contents_of(await mail_harness.numbered_entries(other)) == [b"hello"]
    assert await mail_harness.registry.count_contents() == 1


async def test_a_long_reason_is_cut_like_every_other(mail_harness: MailStoreHarness) -> None:
    box = await mail_harness.add_mailbox()
    await mail_harness.post_and_deposit(box, b"1")

    await mail_harness.upkeep.drop(DropRequest(box, 1, 1), replace(ACT, reason="é" * 600))

    (line,) = await logged(mail_harness)
    assert line.reason[:500] == "é" * 500


@pytest.mark.parametrize("first_mover", ["drop", "acknowledge"])
async def test_a_drop_beside_acknowledgements_counts_each_entry_once(
    mail_harness: MailStoreHarness, second_node_store: MailStore, first_mover: str
) -> None:
    user = UserId(uuid4())
    sender, box = await mail_harness.add_mailbox(user), await mail_harness.add_mailbox()
    messages = [make_message(box, sender=sender, text=b"%d" % n) for n in range(40)]
    await mail_harness.post(*messages)
    entries = await mail_harness.store.deposit([box])

    work = [acknowledge_all(second_node_store, entries), drop_pairs(mail_harness, box)]
    results = await asyncio.gather(*(work if first_mover == "acknowledge" else reversed(work)))

    states = [await mail_harness.upkeep.copy_statuses(user, each.message_id) for each in messages]
    dropped = [found[0].state for found in states if found].count(CopyState.DROPPED)
    assert dropped == sum(results)
    assert {found[0].state for found in states if found} <= {CopyState.DROPPED, CopyState.ACKNOWLEDGED}
    assert await mail_harness.registry.count_contents() == 0
    (state,) = await mail_harness.store.load_states([box])
    assert state.last == state.acknowledged


async def acknowledge_all(store: MailStore, entries: Sequence[Deposited]) -> int:
    for each in entries[4::5]:
        await store.acknowledge([Acknowledgement(each.mailbox, each.seq, each.head, each.seq)])
    return 0


async def drop_pairs(harness: MailStoreHarness, box: MailboxKey) -> int:
    """Drop all 40 entries, two at a time from the end; returns how many were there."""
    pairs = [await harness.upkeep.drop(DropRequest(box, seq, seq + 1), ACT) for seq in range(39, 0, -2)]
    return sum(each.dropped for each in pairs)


async def test_a_drop_beside_deposits_leaves_the_chain_whole(
    mail_harness: MailStoreHarness, second_node_store: MailStore
) -> None:
    box = await mail_harness.add_mailbox()
    messages = [make_message(box, text=b"%d" % n) for n in range(30)]

    async def post_and_deposit_all() -> None:
        for each in messages:
            await mail_harness.post(each)
            await second_node_store.deposit([box])

    async def drop_all() -> None:
        for _ in range(30):
            await mail_harness.upkeep.drop(DropRequest(box, 1, 30), ACT)
            await asyncio.sleep(0)

    await asyncio.gather(post_and_deposit_all(), drop_all())

    digests = [each.contents[0].digest for each in messages]
    entries = await mail_harness.numbered_entries(box)
    assert [each.head for each in entries] == expected_heads(mail_harness.mailbox_ids[box], digests)
    assert {each.loss_reason for each in entries} <= {None, LossReason.OPERATOR}
