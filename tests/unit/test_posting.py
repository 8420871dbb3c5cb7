"""The post office: batches in order, answers after the commit, repeats answered alike, and nobody harmed by his neighbour's post."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.posting_room import Town, draft, post_office
from vyry.errors import IdempotencyMismatch, MailboxFull, NotAMember, NotFound, StaleDevices, Unavailable, VyryError
from vyry.ids import ConversationId, UserId
from vyry.mail import posting
from vyry.mail.draft import Draft
from vyry.mail.envelope import Envelope
from vyry.mail.posting import BATCH_POSTS, Accepted, PostOffice
from vyry.mail.store import Caps, Guards, MailUpkeep, Message, Outdated, Stored, Want


@dataclass
class Gate:
    """The mail store behind a gate: it counts transactions, may be away before or after the commit, and chokes on one content."""

    town: Town
    open: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[int] = field(default_factory=list)
    is_away: str = ""
    poison: bytes = b"poison"
    outdated: list[Outdated] = field(default_factory=list)

    @property
    def upkeep(self) -> MailUpkeep:
        return self.town.store.upkeep

    async def post(self, messages: Sequence[Message], guards: Guards) -> list[Stored] | Outdated:
        self.batches.append(len(messages))
        self.arrived.set()
        await self.open.wait()
        if self.is_away == "before":
            raise Unavailable
        if any(self.poison in content.packed for message in messages for content in message.contents):
            raise RuntimeError("poison")
        if self.outdated:
            return self.outdated.pop()
        stored = await self.town.store.post(messages, guards)
        if self.is_away == "after":
            raise Unavailable
        return stored


@dataclass
class Correspondence:
    """Ann writes to Bo, over a gated store."""

    town: Town
    gate: Gate
    ann: UserId
    bo: UserId
    together: ConversationId
    office: PostOffice

    def draft(self, content: bytes = b"hello", **more: Any) -> Draft:
        return draft(self.together, (self.bo, sorted(self.town.people[self.bo].devices)), content=content, **more)

    async def accept(self, posted: Draft) -> Accepted:
        return await self.office.accept(self.town.sender(self.ann), posted)

    def post(self, posted: Draft) -> "asyncio.Future[Accepted | VyryError]":
        """Post without waiting; the outcome comes later."""
        outcome: asyncio.Future[Accepted | VyryError] = asyncio.get_running_loop().create_future()
        self.office.post(self.town.sender(self.ann), posted, outcome.set_result)
        return outcome

    async def held(self, number: int = 1) -> list[bytes]:
        """What is in Bo's mailbox once deposited."""
        box = self.town.box(self.bo, number)
        await self.town.store.deposit([box])
        entries = await self.town.store.collect([Want(box, 0, 10_000, 1 << 30)])
        return [Envelope.unpack(entry.packed).content for entry in entries if entry.packed]


@pytest.fixture
async def mail() -> Any:
    town = Town(Caps(mail_entries=3_000))
    ann, bo = town.settle(), town.settle(2)
    gate = Gate(town)
    gate.open.set()
    async with post_office(town, gate) as office:
        yield Correspondence(town, gate, ann, bo, town.meet(ann, bo), office)


async def test_what_was_accepted_is_in_every_mailbox(mail: Correspondence) -> None:
    posted = mail.draft(b"one")

    accepted = await mail.accept(posted)

    assert accepted == Accepted(posted.message_id, mail.town.clock.now(), 2, is_repeat=False, skipped=[])
    assert await mail.held(1) == await mail.held(2) == [b"one"]


async def test_nothing_is_answered_before_the_commit_and_what_comes_meanwhile_shares_the_next(
    mail: Correspondence,
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


async def test_a_batch_has_a_limit_and_the_order_stays(mail: Correspondence) -> None:
    outcomes = [mail.post(mail.draft(b"%d" % n)) for n in range(2 * BATCH_POSTS + 1)]

    await asyncio.gather(*outcomes)

    assert mail.gate.batches == [BATCH_POSTS, BATCH_POSTS, 1]
    assert await mail.held() == [b"%d" % n for n in range(2 * BATCH_POSTS + 1)]


async def test_a_repeat_has_the_stored_answer(mail: Correspondence) -> None:
    posted = mail.draft()
    first = await mail.accept(posted)
    mail.town.clock.advance(days=29)

    again = await mail.accept(posted)

    assert (again.is_repeat, again.accepted_at, again.copies) == (True, first.accepted_at, 2)
    assert await mail.held() == [b"hello"]


async def test_a_repeat_in_the_same_batch_is_stored_once(mail: Correspondence) -> None:
    posted = mail.draft()

    outcomes = await asyncio.gather(*(mail.post(posted) for _ in range(5)))

    assert [outcome.is_repeat for outcome in outcomes if isinstance(outcome, Accepted)] == [False] + [True] * 4
    assert await mail.held() == [b"hello"]


async def test_a_repeat_is_answered_although_the_devices_changed_since(mail: Correspondence) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    mail.town.link(mail.bo, 3)
    mail.town.unlink(mail.bo, 2)

    again = await mail.accept(posted)

    assert (again.is_repeat, again.copies) == (True, 2)


async def test_another_body_under_the_same_id_is_a_mismatch(mail: Correspondence) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    other = mail.draft(b"other", messageId=str(posted.message_id))

    with pytest.raises(IdempotencyMismatch):
        await mail.accept(other)
    mail.town.link(mail.bo, 3)
    with pytest.raises(IdempotencyMismatch):
        await mail.accept(other)

    assert await mail.held() == [b"hello"]


async def test_the_same_id_of_another_device_is_another_post(mail: Correspondence) -> None:
    posted = mail.draft()
    await mail.accept(posted)
    back = draft(mail.together, (mail.ann, [1]), (mail.bo, [2]), messageId=str(posted.message_id))

    accepted = await mail.office.accept(mail.town.sender(mail.bo), back)

    assert (accepted.is_repeat, accepted.copies) == (False, 2)


async def test_a_refused_post_leaves_its_id_free(mail: Correspondence) -> None:
    posted = draft(mail.together, (mail.bo, [1]))
    with pytest.raises(StaleDevices):
        await mail.accept(posted)

    accepted = await mail.accept(mail.draft(messageId=str(posted.message_id)))

    assert not accepted.is_repeat
    assert await mail.held() == [b"hello"]


async def test_a_full_mailbox_is_skipped_and_named_each_time_to_acquaintances(mail: Correspondence) -> None:
    town = mail.town
    town.ties.written.add((mail.together, mail.bo))
    town.store.room.caps = Caps(mail_entries=1)
    await mail.accept(mail.draft())
    await mail.held(1)

    posted = mail.draft(b"second")
    first = await mail.accept(posted)
    town.unlink(mail.bo, 1)
    again = await mail.accept(posted)

    assert [str(address) for address in first.skipped] == [f"{mail.bo}.1"]
    assert (again.copies, again.skipped, again.is_repeat) == (1, first.skipped, True)
    assert await mail.held(2) == [b"hello"]


async def test_when_all_mailboxes_are_full_nothing_is_stored_and_the_id_stays_free(mail: Correspondence) -> None:
    mail.town.ties.written.add((mail.together, mail.bo))
    mail.town.store.room.caps = Caps(mail_entries=1)
    await mail.accept(mail.draft())
    posted = mail.draft(b"second")
    await mail.held(1)
    await mail.held(2)

    with pytest.raises(MailboxFull):
        await mail.accept(posted)
    mail.town.store.room.caps = Caps()

    assert not (await mail.accept(posted)).is_repeat


async def test_nobody_is_refused_by_an_outdated_memory(mail: Correspondence) -> None:
    cy = mail.town.settle()
    await mail.accept(mail.draft())
    mail.town.link(mail.bo, 3)
    mail.town.change(mail.together, mail.ann, mail.bo, cy)

    accepted = await mail.accept(mail.draft(b"to three"))
    await mail.accept(draft(mail.together, (cy, [1])))

    assert accepted.copies == 3


async def test_an_outdated_memory_accepts_nothing_either(mail: Correspondence) -> None:
    await mail.accept(mail.draft())
    old = mail.draft(b"to two")
    mail.town.link(mail.bo, 3)

    with pytest.raises(StaleDevices) as refused:
        await mail.accept(old)
    mail.town.change(mail.together, mail.bo)
    with pytest.raises(NotAMember):
        await mail.accept(mail.draft())

    missing = {"userId": str(mail.bo), "deviceId": 3, "registrationId": 30}
    assert refused.value.members["missing"] == [missing]
    assert await mail.held() == [b"hello"]


async def test_refusals_spoil_nothing_of_their_batch(mail: Correspondence) -> None:
    stranger = mail.town.settle()
    posts = [
        mail.draft(b"one"),
        draft(mail.together, (stranger, [1])),
        draft(mail.together, (mail.bo, [1])),
        draft(ConversationId(uuid4()), (mail.bo, [1, 2])),
        mail.draft(b"two"),
    ]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Accepted, NotFound, StaleDevices, NotAMember, Accepted]
    assert await mail.held() == [b"one", b"two"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_when_the_outcome_is_unknown_a_repeat_tells_the_truth(mail: Correspondence, when: str) -> None:
    mail.gate.is_away = when
    posts = [mail.draft(b"%d" % n) for n in range(3)]
    unclear = await asyncio.gather(*map(mail.post, posts))
    mail.gate.is_away = ""

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in unclear] == [Unavailable] * 3
    assert [outcome.is_repeat for outcome in outcomes if isinstance(outcome, Accepted)] == [when == "after"] * 3
    assert await mail.held() == [b"0", b"1", b"2"]


async def test_nobody_waits_twice_for_a_database_that_is_away(mail: Correspondence) -> None:
    mail.gate.is_away = "before"
    mail.gate.open.clear()
    first = mail.post(mail.draft(b"0"))
    await mail.gate.arrived.wait()
    meanwhile = [mail.post(mail.draft(b"%d" % n)) for n in range(1, 4)]

    mail.gate.open.set()
    outcomes = await asyncio.gather(first, *meanwhile)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 4
    assert mail.gate.batches == [1]


async def test_a_poison_post_spoils_nothing_of_its_batch(mail: Correspondence) -> None:
    posts = [mail.draft(b"one"), mail.draft(b"poison"), mail.draft(b"two")]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Accepted, Unavailable, Accepted]
    assert await mail.held() == [b"one", b"two"]
    assert isinstance(await mail.post(mail.draft(b"three")), Accepted)


async def test_the_hunt_for_poison_does_not_go_on_for_ever(
    mail: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "DIVIDE_SECONDS", -1.0)
    posts = [mail.draft(b"one"), mail.draft(b"poison")]

    outcomes = await asyncio.gather(*map(mail.post, posts))

    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert mail.gate.batches == [2]


async def test_devices_that_change_all_the_time_spoil_only_posts_to_them(mail: Correspondence) -> None:
    mail.gate.outdated = [Outdated(frozenset([mail.bo]), frozenset())] * 5

    outcomes = await asyncio.gather(*(mail.post(mail.draft(b"%d" % n)) for n in range(2)))

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
    mail.gate.outdated = [Outdated(frozenset([mail.bo]), frozenset())] * 5
    assert isinstance(await mail.post(mail.draft(b"alone")), Unavailable)


async def test_a_caller_that_goes_away_takes_nothing_back(mail: Correspondence) -> None:
    mail.gate.open.clear()
    caller = asyncio.create_task(mail.accept(mail.draft()))
    await mail.gate.arrived.wait()
    caller.cancel()
    await asyncio.wait([caller])
    mail.gate.open.set()

    await mail.accept(mail.draft(b"next"))

    assert await mail.held() == [b"hello", b"next"]


async def test_one_can_wait_for_all_posts_taken_before(mail: Correspondence) -> None:
    mail.gate.open.clear()
    outcomes = [mail.post(mail.draft(b"%d" % n)) for n in range(BATCH_POSTS + 1)]
    settled = asyncio.create_task(mail.office.settled())
    await mail.gate.arrived.wait()
    assert not settled.done()

    mail.gate.open.set()
    await settled

    assert all(outcome.done() for outcome in outcomes)
    await mail.office.settled()


async def test_a_conversation_is_read_once_for_many_posts(mail: Correspondence) -> None:
    for _ in range(10):
        await mail.accept(mail.draft())

    assert mail.town.looked == ["conversations", "lists"]
