"""What senders learn of what they posted: nothing that shows a stranger when a device wakes."""

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import pytest

from tests.fakes.relationships import MemoryReceipts
from tests.support.posting_harness import PostingHarness, make_draft, open_posting
from vyry.errors import MailboxFull, NotFound
from vyry.kernel.ids import MailboxKey, MessageId, UserId, new_id
from vyry.mail.draft import Draft
from vyry.mail.full_mailbox_policy import REFUSAL_PERIOD
from vyry.mail.posting import Accepted, Posting
from vyry.mail.receipts import Receipt, Receipts, ReceiptState, round_up_to_minute
from vyry.mail.store import Acknowledgement, CopyStatus, MailboxCaps


class ReceiptsHarness:
    """Ann, a stranger, writes to Bo, who has two devices."""

    def __init__(self, directory: PostingHarness, posting: Posting) -> None:
        self.directory, self.posting = directory, posting
        self.ann, self.bo = directory.add_account(2), directory.add_account(2)
        self.together = directory.add_conversation(self.ann, self.bo)
        self.receipts = Receipts(directory.store.upkeep, MemoryReceipts(directory.ties))

    async def post(self, posted: Draft | None = None) -> Accepted:
        posted = posted or make_draft(self.together, (self.bo, [1, 2]), (self.ann, [2]))
        return await self.posting.post_and_wait(self.directory.sender_of(self.ann), posted)

    async def answer(self, lane: str = "mail") -> None:
        """Bo writes, too."""
        back = make_draft(self.together, (self.ann, [1, 2]), (self.bo, [2]), lane=lane)
        await self.posting.post_and_wait(self.directory.sender_of(self.bo), back)

    async def read(self, number: int = 1, user: UserId | None = None) -> None:
        """A device (of Bo's) has everything."""
        box = self.directory.mailbox_of(user or self.bo, number)
        await self.directory.store.deposit([box])
        (state,) = await self.directory.store.load_states([box])
        await self.directory.store.acknowledge([Acknowledgement(box, state.last.seq, state.last.head, state.last.seq)])

    async def receipt_states(self, accepted: Accepted) -> Receipt:
        """What Ann is told of Bo."""
        told = await self.receipts.list_receipts(self.ann, MessageId(accepted.message_id))
        (found,) = [each for each in told if isinstance(each, Receipt)]
        assert found.user_id == self.bo
        return found


@pytest.fixture
async def harness() -> AsyncIterator[ReceiptsHarness]:
    directory = PostingHarness()
    async with open_posting(directory) as posting:
        yield ReceiptsHarness(directory, posting)


async def test_a_stranger_learns_nothing_but_that_it_was_accepted(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    before = await harness.receipt_states(accepted)
    harness.directory.clock.advance(minutes=5)

    await harness.read(1)
    await harness.read(2)

    assert before == await harness.receipt_states(accepted)
    assert before == Receipt(harness.bo, ReceiptState.ACCEPTED, accepted.accepted_at)


async def test_it_is_delivered_once_the_other_has_written_there(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    harness.directory.clock.advance(seconds=61)
    await harness.read(2)

    await harness.answer()

    at = accepted.accepted_at + timedelta(minutes=2)
    assert await harness.receipt_states(accepted) == Receipt(harness.bo, ReceiptState.DELIVERED, at)


async def test_what_a_device_sends_of_its_own_accord_is_no_answer(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    await harness.read()

    await harness.answer("control")

    assert (await harness.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_a_copy_to_own_devices_is_no_answer(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    await harness.read()

    await harness.posting.post_and_wait(
        harness.directory.sender_of(harness.bo), make_draft(harness.together, (harness.bo, [2]))
    )

    assert (await harness.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_writing_elsewhere_opens_nothing_here(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    await harness.read()
    group = harness.directory.add_conversation(harness.ann, harness.bo)

    back = make_draft(group, (harness.ann, [1, 2]), (harness.bo, [2]))
    await harness.posting.post_and_wait(harness.directory.sender_of(harness.bo), back)

    assert (await harness.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_of_own_devices_each_copy_is_told(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()
    await harness.read(2, harness.ann)

    told = await harness.receipts.list_receipts(harness.ann, MessageId(accepted.message_id))

    own = [(each.address.device_id, each.state.value) for each in told if isinstance(each, CopyStatus)]
    assert own == [(2, "acknowledged")]


@pytest.mark.parametrize(
    ("lives", "parked", "state"),
    [(1, 0, ReceiptState.EXPIRED), (3600, 1, ReceiptState.ACCEPTED), (3600, 2, ReceiptState.DROPPED)],
    ids=["its time is over", "one device set it aside", "both set it aside"],
)
async def test_an_acquaintance_learns_how_it_ended(
    harness: ReceiptsHarness, lives: int, parked: int, state: ReceiptState
) -> None:
    harness.directory.ties.writers.add((harness.together, harness.bo))
    posted = make_draft(harness.together, (harness.bo, [1, 2]), (harness.ann, [2]), expiresInSeconds=lives)
    accepted = await harness.post(posted)
    boxes = [harness.directory.mailbox_of(harness.bo, number) for number in (1, 2)]
    await harness.directory.store.deposit(boxes)
    harness.directory.clock.advance(seconds=2)

    for box in boxes[:parked]:
        await harness.directory.store.discard(box, 1)

    assert (await harness.receipt_states(accepted)).state is state


async def test_a_message_of_somebody_else_is_not_there(harness: ReceiptsHarness) -> None:
    accepted = await harness.post()

    for asker, message_id in ((harness.bo, accepted.message_id), (harness.ann, new_id())):
        with pytest.raises(NotFound):
            await harness.receipts.list_receipts(asker, MessageId(message_id))


def test_a_minute_is_rounded_up_and_a_full_one_stays() -> None:
    noon = PostingHarness().clock.now()

    moments = [round_up_to_minute(noon + timedelta(seconds=seconds)) for seconds in (0, 0.001, 59.999, 60)]

    assert moments == [noon] + [noon + timedelta(minutes=1)] * 3


async def test_a_stranger_is_not_told_which_device_has_no_room(harness: ReceiptsHarness) -> None:
    harness.directory.store.state.caps = MailboxCaps(mail_entries=1)
    await harness.post()
    await harness.directory.store.deposit([harness.directory.mailbox_of(harness.bo, 1)])

    first = await harness.post(posted := make_draft(harness.together, (harness.bo, [1, 2]), (harness.ann, [2])))
    again = await harness.post(posted)

    assert (first.copies, first.skipped) == (again.copies, again.skipped) == (3, [])


async def test_a_stranger_whose_post_found_no_room_does_not_see_when_there_is_some(harness: ReceiptsHarness) -> None:
    harness.directory.end_device(harness.ann, 2)
    harness.directory.store.state.caps = MailboxCaps(mail_entries=1)
    await harness.post(draft_to_bo(harness))
    await harness.directory.store.deposit([harness.directory.mailbox_of(harness.bo, number) for number in (1, 2)])
    with pytest.raises(MailboxFull):
        await harness.post(draft_to_bo(harness))
    await harness.read(1)

    with pytest.raises(MailboxFull):
        await harness.post(draft_to_bo(harness))
    harness.directory.clock.advance(seconds=REFUSAL_PERIOD.total_seconds())

    assert (await harness.post(draft_to_bo(harness))).skipped == []


async def test_who_was_refused_while_the_clock_was_ahead_waits_for_an_hour_all_the_same(
    harness: ReceiptsHarness,
) -> None:
    clock = harness.directory.clock
    harness.directory.end_device(harness.ann, 2)
    harness.directory.store.state.caps = MailboxCaps(mail_entries=1)
    await harness.post(draft_to_bo(harness))
    await harness.directory.store.deposit([harness.directory.mailbox_of(harness.bo, number) for number in (1, 2)])
    noon = clock.confirmed_time = clock.current_time
    clock.advance(days=100)
    with pytest.raises(MailboxFull):
        await harness.post(draft_to_bo(harness))
    await harness.read(1)

    clock.confirmed_time, clock.current_time = None, noon + REFUSAL_PERIOD

    assert (await harness.post(draft_to_bo(harness))).copies == 2


async def test_who_was_refused_may_try_again_once_the_other_has_written(harness: ReceiptsHarness) -> None:
    harness.directory.end_device(harness.ann, 2)
    harness.directory.store.state.caps = MailboxCaps(mail_entries=1)
    await harness.post(draft_to_bo(harness))
    await harness.directory.store.deposit([harness.directory.mailbox_of(harness.bo, number) for number in (1, 2)])
    with pytest.raises(MailboxFull):
        await harness.post(draft_to_bo(harness))
    await harness.read(1)

    await harness.posting.post_and_wait(
        harness.directory.sender_of(harness.bo), make_draft(harness.together, (harness.ann, [1]), (harness.bo, [2]))
    )

    accepted = await harness.post(draft_to_bo(harness))
    assert [str(address) for address in accepted.skipped] == [f"{harness.bo}.2"]


async def test_what_devices_send_of_their_own_accord_moves_no_activity(harness: ReceiptsHarness) -> None:
    quiet = make_draft(harness.together, (harness.bo, [1, 2]), (harness.ann, [2]), lane="control")
    await harness.post(quiet)
    await harness.post(make_draft(harness.together, (harness.ann, [2])))
    before = set(harness.posting._touched)

    await harness.post()

    assert (before, harness.posting._touched) == (set(), {harness.together})


async def test_a_post_is_answered_before_its_mail_goes_anywhere(
    harness: ReceiptsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    routed = harness.posting._router.route

    def route(copies: Iterable[tuple[MailboxKey, int, bytes]]) -> None:
        order.append("routed")
        routed(copies)

    monkeypatch.setattr(harness.posting._router, "route", route)

    answered = make_draft(harness.together, (harness.bo, [1, 2]), (harness.ann, [2]))
    harness.posting.post(harness.directory.sender_of(harness.ann), answered, lambda _: order.append("answered"))
    await harness.posting.drained()

    assert order == ["answered", "routed"]


def draft_to_bo(harness: ReceiptsHarness) -> Draft:
    return make_draft(harness.together, (harness.bo, [1, 2]))
