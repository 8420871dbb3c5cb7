"""The mailbox machine over memory and SQLite, and the proof that it bites: each planted bug is found."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.mail import MemoryMailStore
from tests.support.mailbox_machine import MailboxMachine
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import (
    Acknowledgement,
    CollectRequest,
    Cursor,
    Deposited,
    Entry,
    Message,
    Outdated,
    PostOutcome,
    Preconditions,
)


LIVES = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
#: The same lives each time, without the search for the shortest one: it only has to be found.
HUNT = settings(LIVES, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])


class SkipsNumbers(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        for key in mailboxes:
            if len(self.state.mailboxes[key].waiting) > 1:
                box = self.state.mailboxes[key]
                box.last_cursor = Cursor(box.last_cursor.seq + 1, box.last_cursor.head)
        return await super().deposit(mailboxes)


class NumbersTwice(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        for key in mailboxes:
            box = self.state.mailboxes[key]
            box.waiting += [replace(envelope) for envelope in box.waiting[1:]]
        return await super().deposit(mailboxes)


class NumbersInTheWrongOrder(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        for key in mailboxes:
            self.state.mailboxes[key].waiting.reverse()
        return await super().deposit(mailboxes)


class ForgetsTheChain(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        for key in mailboxes:
            box = self.state.mailboxes[key]
            box.last_cursor = replace(box.last_cursor, head=bytes(32)) if box.last_cursor.seq > 2 else box.last_cursor
        return await super().deposit(mailboxes)


class DropsWhatIsDepositedInACrowd(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        if len(mailboxes) > 2:
            self.state.mailboxes[next(iter(mailboxes))].waiting.clear()
        return await super().deposit(mailboxes)


class LosesTheLastOfAFanOut(MemoryMailStore):
    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        outcomes = await super().post(messages, guards, readers)
        for stored in [] if isinstance(outcomes, Outdated) else outcomes:
            if len(stored.numbers) > 2:
                box = self.state.mailboxes[stored.mailboxes[-1]]
                box.waiting = [each for each in box.waiting if each.number != stored.numbers[-1]]
        return outcomes


class IgnoresGuards(MemoryMailStore):
    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        outcome = await super().post(messages, guards, readers)
        if isinstance(outcome, Outdated):
            await super().post(messages, Preconditions())
        return outcome


class ForgetsPosts(MemoryMailStore):
    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        if len(self.state.messages) > 3:
            self.state.messages.clear()
        return await super().post(messages, guards, readers)


class TakesAnyPoint(MemoryMailStore):
    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        return await super().acknowledge([point._replace(sent_seq=1 << 40) for point in points])


class TakesAnyHead(MemoryMailStore):
    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        entries = [self.state.mailboxes[point.mailbox].entries for point in points]
        return await super().acknowledge(
            [
                point._replace(head=inside[point.seq].head) if point.seq in inside else point
                for point, inside in zip(points, entries, strict=True)
            ]
        )


class KeepsWhatWasAcknowledged(MemoryMailStore):
    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        boxes = [self.state.mailboxes[point.mailbox] for point in points]
        before = [dict(box.entries) for box in boxes]
        cursors = await super().acknowledge(points)
        for box, entries in zip(boxes, before, strict=True):
            box.entries = entries
        return cursors


class ExpiresTooEarly(MemoryMailStore):
    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        return [
            entry._replace(loss_reason=entry.loss_reason or LossReason.EXPIRED, packed=None) if entry.seq > 4 else entry
            for entry in await super().collect(wants)
        ]


class RevivesTheParked(MemoryMailStore):
    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        return [
            entry._replace(loss_reason=None) if entry.loss_reason is LossReason.PARKED and entry.seq % 2 else entry
            for entry in await super().collect(wants)
        ]


class JumpsOverLargeEntries(MemoryMailStore):
    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        return [entry for entry in await super().collect(wants) if entry.seq % 5]


class DropsWithoutNeed(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        self.state.caps = replace(self.state.caps, mail_entries=2)
        return await super().deposit(mailboxes)


class KeepsNoRoomForNotices(MemoryMailStore):
    """As it was: what the node says shares the lane of receipts and sync."""

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        return await super().post([as_control(message) for message in messages], guards, readers)


def as_control(message: Message) -> Message:
    return message._replace(lane=Lane.CONTROL) if message.lane is Lane.NOTICE else message


class SharesNothing(MemoryMailStore):
    """As it was: whoever comes first takes all."""

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        return await super().post([message._replace(quota_owner=None) for message in messages], guards, readers)


class TakesStrangersForFriends(MemoryMailStore):
    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        return await super().post(
            [message._replace(is_from_acquaintance=True) for message in messages], guards, readers
        )


class ForgetsWhatItCounted(MemoryMailStore):
    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        for key in mailboxes:
            for envelope in self.state.mailboxes[key].waiting:
                envelope.share = None
        return await super().deposit(mailboxes)


BUGS = {
    SkipsNumbers: "L4",
    NumbersTwice: "L5",
    NumbersInTheWrongOrder: "L6",
    ForgetsTheChain: "L4",
    DropsWhatIsDepositedInACrowd: "L[17]",
    LosesTheLastOfAFanOut: "L7",
    IgnoresGuards: "L2",
    ForgetsPosts: "L11",
    TakesAnyPoint: "L10",
    TakesAnyHead: "L10",
    KeepsWhatWasAcknowledged: "L9",
    ExpiresTooEarly: "L1",
    RevivesTheParked: "L3",
    JumpsOverLargeEntries: "L4",
    DropsWithoutNeed: "L1",
    KeepsNoRoomForNotices: "L1",
    SharesNothing: "L8",
    TakesStrangersForFriends: "L8",
    ForgetsWhatItCounted: "L8",
}


def machine_of(store: type[MemoryMailStore]) -> type[MailboxMachine]:
    return type(f"{store.__name__}Machine", (MailboxMachine,), {"memory_store_class": store})


def test_every_life_of_a_mailbox_in_memory_keeps_the_invariants() -> None:
    run_state_machine_as_test(MailboxMachine, settings=settings(LIVES, max_examples=100))


def test_every_life_of_a_mailbox_on_sqlite_keeps_the_invariants(sqlite_url: str) -> None:
    machine = type("SqliteMachine", (MailboxMachine,), {"url": sqlite_url})

    run_state_machine_as_test(machine, settings=LIVES)


@pytest.mark.parametrize(("store", "invariant"), BUGS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_bug_is_found(store: type[MemoryMailStore], invariant: str) -> None:
    with pytest.raises(AssertionError, match=f"^{invariant}:"):
        run_state_machine_as_test(machine_of(store), settings=HUNT)
