"""Posting: batches in order, answers after the commit, repeats answered alike, and nobody harmed by his neighbour's post."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.support.posting_harness import PostingHarness, make_draft, open_posting
from vyry.errors import IdempotencyMismatch, MailboxFull, NotAMember, NotFound, StaleDevices, Unavailable, VyryError
from vyry.kernel.ids import ConversationId, MailboxKey, UserId
from vyry.mail import posting
from vyry.mail.draft import Draft
from vyry.mail.envelope import Envelope
from vyry.mail.posting import MAX_BATCH_POSTS, Accepted, Posting
from vyry.mail.store import CollectRequest, MailboxCaps, MailUpkeep, Message, Outdated, PostOutcome, Preconditions


@dataclass
class GatedStore:
    """The mail store behind a gate: it counts transactions, may be away before or after the commit, and chokes on one content."""

    directory: PostingHarness
    open: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[int] = field(default_factory=list)
    is_away: str = ""
    poison: bytes = b"poison"
    outdated: list[Outdated] = field(default_factory=list)

    @property
    def upkeep(self) -> MailUpkeep:
        return self.directory.store.upkeep

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        self.batches.append(len(messages))
        self.arrived.set()
        await self.open.wait()
        if self.is_away == "before":
            raise Unavailable
        if any(self.poison in content.packed for message in messages for content in message.contents):
            raise RuntimeError("poison")
        if self.outdated:
            return self.outdated.pop()
        stored = await self.directory.store.post(messages, guards, readers)
        if self.is_away == "after":
            raise Unavailable
        return stored


@dataclass
class PostingSession:
    """Ann writes to Bo, over a gated store."""

    directory: PostingHarness
    gate: GatedStore
    ann: UserId
    bo: UserId
    together: ConversationId
    posting: Posting

    def draft(self, content: bytes = b"hello", **more: Any) -> Draft:
        return make_draft(
            self.together, (self.bo, sorted(self.directory.people[self.bo].devices)), content=content, **more
        )

    async def accept(self, posted: Draft) -> Accepted:
        return await self.posting.post_and_wait(self.directory.sender_of(self.ann), posted)

    def post(self, posted: Draft) -> "asyncio.Future[Accepted | VyryError]":
        """Post without waiting; the outcome comes later."""
        outcome: asyncio.Future[Accepted | VyryError] = asyncio.get_running_loop().create_future()
        self.posting.post(self.directory.sender_of(self.ann), posted, outcome.set_result)
        return outcome

    async def held(self, number: int = 1) -> list[bytes]:
        """What is in Bo's mailbox once deposited."""
        box = self.directory.mailbox_of(self.bo, number)
        await self.directory.store.deposit([box])
        entries = await self.directory.store.collect([CollectRequest(box, 0, 10_000, 1 << 30)])
        return [Envelope.unpack(entry.packed).content for entry in entries if entry.packed]


@pytest.fixture
async def mail() -> Any:
    directory = PostingHarness(MailboxCaps(mail_entries=3_000))
    ann, bo = directory.add_account(), directory.add_account(2)
    gate = GatedStore(directory)
    gate.open.set()
    async with open_posting(directory, gate) as posting:
        yield PostingSession(directory, gate, ann, bo, directory.add_conversation(ann, bo), posting)


async def test_what_was_accepted_is_in_every_mailbox(mail: PostingSession) -> None:
    posted = mail.draft(b"one")

    accepted = await mail.accept(posted)

    assert accepted == Accepted(posted.message_id, mail.directory.clock.now(), 2, is_repeat=False, skipped=[])
    assert await mail.held(1) == await mail.held(2) == [b"one"]


async def test_nothing_is_answered_before_the_commit_and_what_comes_meanwhile_shares_the_next(
    mail: PostingSession,
) -> None:
    mail.gate.open.clear()
    first = mail.post(mail.draft(b"0"))
    await mail.gate.arrived.wait()
    others = [mail.post(mail.draft(b"%d" % n)) for n in range(1, 20)]
    assert not first.done()

    mail.gate.open.set()
    outcomes = await asyncio.gather(first, *others)

    assert mail.gate.batches == [1, 19]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert await mail.held() == [b"%d" % n for n in range(20)]


async def test_a_batch_has_a_limit_and_the_order_stays(mail: PostingSession) -> None:
    outcomes = [mail.post(mail.draft(b"%d" % n)) for n in range(2 * MAX_BATCH_POSTS + 1)]

    await asyncio.gather(*outcomes)

    assert mail.gate.batches == [MAX_BATCH_POSTS, MAX_BATCH_POSTS, 1]
    assert await mail.held() == [b"%d" % n for n in range(2 * MAX_BATCH_POSTS + 1)]


async def test_a_repeat_has_the_stored_answer(mail: PostingSession) -> None:
    posted = mail.draft()
    first = await mail.accept(posted)
    mail.directory.clock.advance(days=29)

    again = await mail.accept(posted)

    assert (again.is_repeat, again.accepted_at, again.copies) == (True, first.accepted_at, 2)
    assert await mail.held() == [b"hello"]


async def test_a_repeat_in_the_same_batch_is_stored_once(mail: PostingSession) -> None:
    posted = mail.draft()

    outcomes = await asyncio.gather(*(mail.post(posted) for _ in range(5)))

    assert [outcome.is_repeat for outcome in outcomes if isinstance(outcome, Accepted)] == [False] + [True] * 4
    assert await mail.held() == [b"hello"]


async def test_a_repeat_is_answered_although_the_devices_changed_since(mail: PostingSession) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    mail.directory.add_device(mail.bo, 3)
    mail.directory.end_device(mail.bo, 2)

    again = await mail.accept(posted)

    assert (again.is_repeat, again.copies) == (True, 2)


async def test_another_body_under_the_same_id_is_a_mismatch(mail: PostingSession) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    other = mail.draft(b"other", messageId=str(posted.message_id))

    with pytest.raises(IdempotencyMismatch):
        await mail.accept(other)
    mail.directory.add_device(mail.bo, 3)
    with pytest.raises(IdempotencyMismatch):
        await mail.accept(other)

    assert await mail.held() == [b"hello"]


async def test_the_same_id_of_another_device_is_another_post(mail: PostingSession) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    back = make_draft(mail.together, (mail.ann, [1]), (mail.bo, [2]), messageId=str(posted.message_id))

    accepted = await mail.posting.post_and_wait(mail.directory.sender_of(mail.bo), back)

    assert (accepted.is_repeat, accepted.copies) == (False, 2)


async def test_a_refused_post_leaves_its_id_free(mail: PostingSession) -> None:
    posted = make_draft(mail.together, (mail.bo, [1]))
    with pytest.raises(StaleDevices):
        await mail.accept(posted)

    accepted = await mail.accept(mail.draft(messageId=str(posted.message_id)))

    assert not accepted.is_repeat
    assert await mail.held() == [b"hello"]


async def test_a_full_mailbox_is_skipped_and_named_each_time_to_acquaintances(mail: PostingSession) -> None:
    directory = mail.directory
    directory.ties.writers.add((mail.together, mail.bo))
    directory.store.state.caps = MailboxCaps(mail_entries=1)
    await mail.accept(mail.draft())
    await mail.held(1)

    posted = mail.draft(b"second")
    first = await mail.accept(posted)
    directory.end_device(mail.bo, 1)
    again = await mail.accept(posted)

    assert [str(address) for address in first.skipped] == [f"{mail.bo}.1"]
    assert (again.copies, again.skipped, again.is_repeat) == (1, first.skipped, True)
    assert await mail.held(2) == [b"hello"]


async def test_when_all_mailboxes_are_full_nothing_is_stored_and_the_id_stays_free(mail: PostingSession) -> None:
    mail.directory.ties.writers.add((mail.together, mail.bo))
    mail.directory.store.state.caps = MailboxCaps(mail_entries=1)
    await mail.accept(mail.draft())
    posted = mail.draft(b"second")
    await mail.held(1)
    await mail.held(2)

    with pytest.raises(MailboxFull):
        await mail.accept(posted)
    mail.directory.store.state.caps = MailboxCaps()

    assert not (await mail.accept(posted)).is_repeat


async def test_nobody_is_refused_by_an_outdated_memory(mail: PostingSession) -> None:
    cy = mail.directory.add_account()
    await mail.accept(mail.draft())
    mail.directory.add_device(mail.bo, 3)
    mail.directory.change_members(mail.together, mail.ann, mail.bo, cy)

    accepted = await mail.accept(mail.draft(b"to three"))
    await mail.accept(make_draft(mail.together, (cy, [1])))

    assert accepted.copies == 3


async def test_an_outdated_memory_accepts_nothing_either(mail: PostingSession) -> None:
    await mail.accept(mail.draft())
    old = mail.draft(b"to two")
    mail.directory.add_device(mail.bo, 3)

    with pytest.raises(StaleDevices) as refused:
        await mail.accept(old)
    mail.directory.change_members(mail.together, mail.bo)
    with pytest.raises(NotAMember):
        await mail.accept(mail.draft())

    missing = {"userId": str(mail.bo), "deviceId": 3, "registrationId": 30}
    assert refused.value.members["missing"] == [missing]
    assert await mail.held() == [b"hello"]


async def test_refusals_spoil_nothing_of_their_batch(mail: PostingSession) -> None:
    stranger = mail.directory.add_account()
    posts = [
        mail.draft(b"one"),
        make_draft(mail.together, (stranger, [1])),
        make_draft(mail.together, (mail.bo, [1])),
        make_draft(ConversationId(uuid4()), (mail.bo, [1, 2])),
        mail.draft(b"two"),
    ]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Accepted, NotFound, StaleDevices, NotAMember, Accepted]
    assert await mail.held() == [b"one", b"two"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_when_the_outcome_is_unknown_a_repeat_tells_the_truth(mail: PostingSession, when: str) -> None:
    mail.gate.is_away = when
    posts = [mail.draft(b"%d" % n) for n in range(3)]
    unclear = await asyncio.gather(*map(mail.post, posts))
    mail.gate.is_away = ""

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in unclear] == [Unavailable] * 3
    assert [outcome.is_repeat for outcome in outcomes if isinstance(outcome, Accepted)] == [when == "after"] * 3
    assert await mail.held() == [b"0", b"1", b"2"]


async def test_nobody_waits_twice_for_a_database_that_is_away(mail: PostingSession) -> None:
    mail.gate.is_away = "before"
    mail.gate.open.clear()
    first = mail.post(mail.draft(b"0"))
    await mail.gate.arrived.wait()
    meanwhile = [mail.post(mail.draft(b"%d" % n)) for n in range(1, 4)]

    mail.gate.open.set()
    outcomes = await asyncio.gather(first, *meanwhile)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 4
    assert mail.gate.batches == [1]


async def test_a_poison_post_spoils_nothing_of_its_batch(mail: PostingSession) -> None:
    posts = [mail.draft(b"one"), mail.draft(b"poison"), mail.draft(b"two")]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Accepted, Unavailable, Accepted]
    assert await mail.held() == [b"one", b"two"]
    assert isinstance(await mail.post(mail.draft(b"three")), Accepted)


async def test_the_hunt_for_poison_does_not_go_on_for_ever(
    mail: PostingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "RETRY_ONE_BY_ONE_SECONDS", -1.0)
    posts = [mail.draft(b"one"), mail.draft(b"poison")]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert mail.gate.batches == [2]


async def test_devices_that_change_all_the_time_spoil_only_posts_to_them(mail: PostingSession) -> None:
    mail.gate.outdated = [Outdated(frozenset([mail.bo]), frozenset())] * 5

    outcomes = await asyncio.gather(*(mail.post(mail.draft(b"%d" % n)) for n in range(2)))

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
    mail.gate.outdated = [Outdated(frozenset([mail.bo]), frozenset())] * 5
    assert isinstance(await mail.post(mail.draft(b"alone")), Unavailable)


async def test_a_caller_that_goes_away_takes_nothing_back(mail: PostingSession) -> None:
    mail.gate.open.clear()
    caller = asyncio.create_task(mail.accept(mail.draft()))
    await mail.gate.arrived.wait()
    caller.cancel()
    await asyncio.wait([caller])
    mail.gate.open.set()

    await mail.accept(mail.draft(b"next"))

    assert await mail.held() == [b"hello", b"next"]


async def test_one_can_wait_for_all_posts_taken_before(mail: PostingSession) -> None:
    mail.gate.open.clear()
    outcomes = [mail.post(mail.draft(b"%d" % n)) for n in range(MAX_BATCH_POSTS + 1)]
    settled = asyncio.create_task(mail.posting.drained())
    await mail.gate.arrived.wait()
    assert not settled.done()

    mail.gate.open.set()
    await settled

    assert all(outcome.done() for outcome in outcomes)
    await mail.posting.drained()


async def test_a_conversation_is_read_once_for_many_posts(mail: PostingSession) -> None:
    for _ in range(10):
        await mail.accept(mail.draft())

    assert mail.directory.looked == ["conversations", "lists"]
