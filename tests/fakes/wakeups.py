"""Fake of the wake store, in dictionaries; deposits of the fake mail store plan its wake-ups."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tests.fakes.mail import MemoryEnvelope, MemoryMailbox, MemoryMailboxes
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, Wakeup
from vyry.kernel.ids import MailboxKey
from vyry.storage.push import CLAIM_LEASE, RECHECK_AFTER


_URGENT: Final = timedelta(seconds=3)
_QUIET: Final = timedelta(seconds=60)
_RECENTLY: Final = timedelta(seconds=10)


@dataclass(slots=True)
class MemoryWakeup:
    """What is known about waking one device; the rows of push_wake say the same."""

    device: UUID
    target: PushTarget
    #: None before anything was planned, and while nothing is to be sent.
    due_at: datetime | None = None
    is_urgent: bool = True
    is_ring: bool = False
    #: What was acknowledged when this was planned; -1 before.
    acknowledged: int = -1
    seq: int = 0
    wakes: int = 0
    attempts: int = 0
    rest_until: datetime | None = None
    sent_at: datetime | None = None

    def mark_awake(self, acknowledged: int) -> None:
        """The device was heard: it starts afresh."""
        self.acknowledged, self.wakes, self.attempts, self.rest_until = acknowledged, 0, 0, None


class MemoryWakeups:
    """WakeStore beside a memory mail store; `add` is where tests register targets."""

    def __init__(self, state: MemoryMailboxes) -> None:
        self._state = state
        self._wakes: dict[MailboxKey, MemoryWakeup] = {}
        #: The last answer of a push service for each device.
        self.reports: dict[UUID, PushOutcome] = {}
        state.deposited = self._plan

    def add(self, mailbox: MailboxKey, device: UUID, target: PushTarget) -> None:
        """This device wants to be woken so."""
        self._wakes[mailbox] = MemoryWakeup(device, target)

    def _plan(self, box: MemoryMailbox, envelopes: Sequence[MemoryEnvelope]) -> None:
        urgencies = [envelope.is_urgent for envelope in envelopes if envelope.loss is None]
        wake = self._wakes.get(box.key)
        if wake is None or not urgencies:
            return
        is_urgent, point = any(urgencies), box.acknowledged.seq
        due_at = self._state.clock.now() + (_URGENT if is_urgent else _QUIET)
        is_heard = point > wake.acknowledged and not wake.attempts
        if wake.due_at is not None:
            is_louder = is_urgent and not wake.is_urgent
            if not is_louder and not (is_heard and wake.due_at > due_at):
                return
        elif not is_urgent and wake.wakes and not is_heard:
            return
        known = None if is_heard else wake.due_at
        if is_heard:
            wake.mark_awake(point)
        resting = max(due_at, wake.rest_until or due_at)
        wake.due_at = resting if known is None else min(known, resting)
        wake.is_urgent, wake.attempts = is_urgent, 0

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wakeup]:
        now = self._state.clock.now()
        due = [box for box, wake in self._wakes.items() if wake.due_at is not None and wake.due_at <= now]
        mine = [box for box in due if self._wakes[box].target.kind in kinds]
        return [wake for box in mine[:limit] if (wake := self._claim_one(self._wakes[box], self._state.mailboxes[box]))]

    def _claim_one(self, wake: MemoryWakeup, box: MemoryMailbox) -> Wakeup | None:
        now, last, point = self._state.clock.now(), box.last_cursor.seq, box.acknowledged.seq
        wake.seq = last
        if wake.is_ring or (last > point and point <= wake.acknowledged):
            wake.due_at, wake.attempts = now + CLAIM_LEASE, wake.attempts + 1
            return Wakeup(wake.device, wake.target, wake.is_urgent, wake.wakes, wake.attempts, wake.due_at)
        wake.mark_awake(point)
        wake.due_at = now + RECHECK_AFTER if last > point else None
        return None

    async def record_sent(self, wake: Wakeup, rest: timedelta) -> None:
        for key, known in self._leased(wake):
            box, now = self._state.mailboxes[key], self._state.clock.now()
            is_waiting, point = box.last_cursor.seq > box.acknowledged.seq, box.acknowledged.seq
            if point > known.acknowledged:
                known.mark_awake(point)
                known.due_at = now + RECHECK_AFTER if is_waiting else None
            else:
                known.wakes += 1
                known.rest_until = now + rest if known.is_urgent else known.rest_until
                known.due_at = now + rest if is_waiting and box.last_cursor.seq > known.seq else None
            known.attempts, known.is_ring, known.sent_at = 0, False, now

    async def reschedule(self, wake: Wakeup, wait: timedelta | None) -> None:
        for _, known in self._leased(wake):
            known.due_at = None if wait is None else self._state.clock.now() + wait
            if wait is None:
                known.attempts, known.is_ring = 0, False

    async def release(self, wake: Wakeup, wait: timedelta) -> None:
        for _, known in self._leased(wake):
            known.due_at, known.attempts = self._state.clock.now() + wait, known.attempts - 1

    async def delete_target(self, wake: Wakeup) -> None:
        self._wakes = {box: known for box, known in self._wakes.items() if known.target != wake.target}

    async def record_report(self, wake: Wakeup, outcome: PushOutcome) -> None:
        self.reports[wake.device] = outcome

    async def plan_urgent(self, mailboxes: Collection[MailboxKey]) -> None:
        now = self._state.clock.now()
        for box in mailboxes:
            wake = self._wakes.get(box)
            if wake is None or wake.is_ring or (wake.sent_at is not None and wake.sent_at >= now - _RECENTLY):
                continue
            if wake.acknowledged < 0:
                wake.acknowledged = self._state.mailboxes[box].acknowledged.seq
            wake.due_at, wake.is_ring, wake.is_urgent, wake.attempts = now, True, True, 0

    def _leased(self, wake: Wakeup) -> list[tuple[MailboxKey, MemoryWakeup]]:
        return [
            (box, known)
            for box, known in self._wakes.items()
            if known.device == wake.device and known.due_at == wake.lease_ends_at
        ]
