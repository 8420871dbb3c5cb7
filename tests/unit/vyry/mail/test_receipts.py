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

    def __init__(self, town: PostingHarness, office: Posting) -> None:
        self.town, self.office = town, office
        self.ann, self.bo = town.add_account(2), town.add_account(2)
        self.together = town.add_conversation(self.ann, self.bo)
        self.receipts = Receipts(town.store.upkeep, MemoryReceipts(town.ties))

    async def post(self, posted: Draft | None = None) -> Accepted:
        posted = posted or make_draft(self.together, (self.bo, [1, 2]), (self.ann, [2]))
        return await self.office.post_and_wait(self.town.sender_of(self.ann), posted)

    async def answer(self, lane: str = "mail") -> None:
        """Bo writes, too."""
        back = make_draft(self.together, (self.ann, [1, 2]), (self.bo, [2]), lane=lane)
        await self.office.post_and_wait(self.town.sender_of(self.bo), back)

    async def read(self, number: int = 1, user: UserId | None = None) -> None:
        """A device (of Bo's) has everything."""
        box = self.town.mailbox_of(user or self.bo, number)
        await self.town.store.deposit([box])
        (state,) = await self.town.store.load_states([box])
        await self.town.store.acknowledge([Acknowledgement(box, state.last.seq, state.last.head, state.last.seq)])

    async def receipt_states(self, accepted: Accepted) -> Receipt:
        """What Ann is told of Bo."""
        told = await self.receipts.list_receipts(self.ann, MessageId(accepted.message_id))
        (found,) = [each for each in told if isinstance(each, Receipt)]
        assert found.user_id == self.bo
        return found


@pytest.fixture
async def street() -> AsyncIterator[ReceiptsHarness]:
    town = PostingHarness()
    async with open_posting(town) as office:
        yield ReceiptsHarness(town, office)


async def test_a_stranger_learns_nothing_but_that_it_was_accepted(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    before = await street.receipt_states(accepted)
    street.town.clock.advance(minutes=5)

    await street.read(1)
    await street.read(2)

    assert before == await street.receipt_states(accepted)
    assert before == Receipt(street.bo, ReceiptState.ACCEPTED, accepted.accepted_at)


async def test_it_is_delivered_once_the_other_has_written_there(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    street.town.clock.advance(seconds=61)
    await street.read(2)

    await street.answer()

    at = accepted.accepted_at + timedelta(minutes=2)
    assert await street.receipt_states(accepted) == Receipt(street.bo, ReceiptState.DELIVERED, at)


async def test_what_a_device_sends_of_its_own_accord_is_no_answer(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    await street.read()

    await street.answer("control")

    assert (await street.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_a_copy_to_own_devices_is_no_answer(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    await street.read()

    await street.office.post_and_wait(street.town.sender_of(street.bo), make_draft(street.together, (street.bo, [2])))

    assert (await street.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_writing_elsewhere_opens_nothing_here(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    await street.read()
    group = street.town.add_conversation(street.ann, street.bo)

    back = make_draft(group, (street.ann, [1, 2]), (street.bo, [2]))
    await street.office.post_and_wait(street.town.sender_of(street.bo), back)

    assert (await street.receipt_states(accepted)).state is ReceiptState.ACCEPTED


async def test_of_own_devices_each_copy_is_told(street: ReceiptsHarness) -> None:
    accepted = await street.post()
    await street.read(2, street.ann)

    told = await street.receipts.list_receipts(street.ann, MessageId(accepted.message_id))

    own = [(each.address.device_id, each.state.value) for each in told if isinstance(each, CopyStatus)]
    assert own == [(2, "acknowledged")]


@pytest.mark.parametrize(
    ("lives", "parked", "state"),
    [(1, 0, ReceiptState.EXPIRED), (3600, 1, ReceiptState.ACCEPTED), (3600, 2, ReceiptState.DROPPED)],
    ids=["its time is over", "one device set it aside", "both set it aside"],
)
async def test_an_acquaintance_learns_how_it_ended(
    street: ReceiptsHarness, lives: int, parked: int, state: ReceiptState
) -> None:
    street.town.ties.writers.add((street.together, street.bo))
    posted = make_draft(street.together, (street.bo, [1, 2]), (street.ann, [2]), expiresInSeconds=lives)
    accepted = await street.post(posted)
    boxes = [street.town.mailbox_of(street.bo, number) for number in (1, 2)]
    await street.town.store.deposit(boxes)
    street.town.clock.advance(seconds=2)

    for box in boxes[:parked]:
        await street.town.store.discard(box, 1)

    assert (await street.receipt_states(accepted)).state is state


async def test_a_message_of_somebody_else_is_not_there(street: ReceiptsHarness) -> None:
    accepted = await street.post()

    for asker, message_id in ((street.bo, accepted.message_id), (street.ann, new_id())):
        with pytest.raises(NotFound):
            await street.receipts.list_receipts(asker, MessageId(message_id))


def test_a_minute_is_rounded_up_and_a_full_one_stays() -> None:
    noon = PostingHarness().clock.now()

    moments = [round_up_to_minute(noon + timedelta(seconds=seconds)) for seconds in (0, 0.001, 59.999, 60)]

    assert moments == [noon] + [noon + timedelta(minutes=1)] * 3


async def test_a_stranger_is_not_told_which_device_has_no_room(street: ReceiptsHarness) -> None:
    street.town.store.state.caps = MailboxCaps(mail_entries=1)
    await street.post()
    await street.town.store.deposit([street.town.mailbox_of(street.bo, 1)])

    first = await street.post(posted := make_draft(street.together, (street.bo, [1, 2]), (street.ann, [2])))
    again = await street.post(posted)

    assert (first.copies, first.skipped) == (again.copies, again.skipped) == (3, [])


async def test_a_stranger_whose_post_found_no_room_does_not_see_when_there_is_some(street: ReceiptsHarness) -> None:
    street.town.end_device(street.ann, 2)
    street.town.store.state.caps = MailboxCaps(mail_entries=1)
    await street.post(draft_to_bo(street))
    await street.town.store.deposit([street.town.mailbox_of(street.bo, number) for number in (1, 2)])
    with pytest.raises(MailboxFull):
        await street.post(draft_to_bo(street))
    await street.read(1)

    with pytest.raises(MailboxFull):
        await street.post(draft_to_bo(street))
    street.town.clock.advance(seconds=REFUSAL_PERIOD.total_seconds())

    assert (await street.post(draft_to_bo(street))).skipped == []


async def test_who_was_refused_while_the_clock_was_ahead_waits_for_an_hour_all_the_same(
    street: ReceiptsHarness,
) -> None:
    clock = street.town.clock
    street.town.end_device(street.ann, 2)
    street.town.store.state.caps = MailboxCaps(mail_entries=1)
    await street.post(draft_to_bo(street))
    await street.town.store.deposit([street.town.mailbox_of(street.bo, number) for number in (1, 2)])
    noon = clock.confirmed_time = clock.current_time
    clock.advance(days=100)
    with pytest.raises(MailboxFull):
        await street.post(draft_to_bo(street))
    await street.read(1)

    clock.confirmed_time, clock.current_time = None, noon + REFUSAL_PERIOD

    assert (await street.post(draft_to_bo(street))).copies == 2


async def test_who_was_refused_may_try_again_once_the_other_has_written(street: ReceiptsHarness) -> None:
    street.town.end_device(street.ann, 2)
    street.town.store.state.caps = MailboxCaps(mail_entries=1)
    await street.post(draft_to_bo(street))
    await street.town.store.deposit([street.town.mailbox_of(street.bo, number) for number in (1, 2)])
    with pytest.raises(MailboxFull):
        await street.post(draft_to_bo(street))
    await street.read(1)

    await street.office.post_and_wait(
        street.town.sender_of(street.bo), make_draft(street.together, (street.ann, [1]), (street.bo, [2]))
    )

    accepted = await street.post(draft_to_bo(street))
    assert [str(address) for address in accepted.skipped] == [f"{street.bo}.2"]


async def test_what_devices_send_of_their_own_accord_moves_no_activity(street: ReceiptsHarness) -> None:
    quiet = make_draft(street.together, (street.bo, [1, 2]), (street.ann, [2]), lane="control")
    await street.post(quiet)
    await street.post(make_draft(street.together, (street.ann, [2])))
    before = set(street.office._touched)

    await street.post()

    assert (before, street.office._touched) == (set(), {street.together})


async def test_a_post_is_answered_before_its_mail_goes_anywhere(
    street: ReceiptsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    routed = street.office._router.route

    def route(copies: Iterable[tuple[MailboxKey, int, bytes]]) -> None:
        order.append("routed")
        routed(copies)

    monkeypatch.setattr(street.office._router, "route", route)

    answered = make_draft(street.together, (street.bo, [1, 2]), (street.ann, [2]))
    street.office.post(street.town.sender_of(street.ann), answered, lambda _: order.append("answered"))
    await street.office.drained()

    assert order == ["answered", "routed"]


def draft_to_bo(street: ReceiptsHarness) -> Draft:
    return make_draft(street.together, (street.bo, [1, 2]))
