"""Waking devices: what was planned with the mail is sent to whoever carries it, at least once, and never in the way of mail.

A deposit plans a wake-up in its own transaction (migrations/0001_postgres_triggers.sql). Workers take up what is due under a lease: who dies with it is followed by
another. Each kind of carrier has a lane of its own, so that one that hangs holds up nobody else's.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Never, Protocol
from uuid import UUID

from vyry.devices.push import PushKind, PushTarget
from vyry.errors import Unavailable
from vyry.kernel.backoff import backoff_seconds, jittered
from vyry.kernel.ids import MailboxKey
from vyry.telemetry import PUSHED, log


#: How long new mail does not wake a device again that did not come, by how often it was woken.
WAKEUP_COOLDOWNS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360))
#: Between tries of one wake-up, doubling; with a quarter of jitter.
FIRST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 900.0
#: Then it is given up: the next mail plans a new one.
MOST_ATTEMPTS: Final = 12
POLL_SECONDS: Final = 0.5
#: One try, whatever the carrier does. A lease (vyry/storage/push.py) is longer.
TRY_SECONDS: Final = 15.0


class PushResult(Enum):
    """What became of one try."""

    SENT = "sent"
    #: The carrier knows the target no more.
    GONE = "gone"
    #: It will never take this; another wake-up of the device may do better.
    REFUSED = "refused"
    #: It may take it later.
    LATER = "later"
    #: It was not tried: too much is on its way to that place, or nothing gets through to it.
    BUSY = "busy"
    #: It was not tried, and nothing else of this lane would get through either.
    CIRCUIT_OPEN = "circuit_open"


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The fate of a try; `wait_seconds` is what the carrier asked to be left alone for."""

    result: PushResult
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A wake-up that this worker has taken up, until `lease`."""

    device: UUID
    target: PushTarget
    is_urgent: bool
    #: How often the device was woken since it was last heard, and the how many-eth try this is.
    times_woken: int
    attempts: int
    lease_ends_at: datetime


class WakeupStore(Protocol):
    """Where wake-ups are planned. All methods raise `Unavailable` when the database is away; a report after the lease is over changes nothing."""

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wakeup]:
        """Take up at most so many that are due, for as long as the lease; devices that came back by themselves are left out and done with."""
        ...

    async def record_sent(self, wake: Wakeup, rest: timedelta) -> None:
        """It is on its way: mail that came meanwhile, and further mail, wakes again after the rest, unless the device is heard before."""
        ...

    async def reschedule(self, wake: Wakeup, wait: timedelta | None) -> None:
        """It is due again after the wait; None gives it up until new mail comes."""
        ...

    async def release(self, wake: Wakeup, wait: timedelta) -> None:
        """It was not tried, and is due again after the wait."""
        ...

    async def delete_target(self, wake: Wakeup) -> None:
        """The target is worth nothing: forget it, unless the device has named another one meanwhile."""
        ...

    async def plan_urgent(self, mailboxes: Collection[MailboxKey]) -> None:
        """Plan an urgent wake-up, due now and sent even if no mail waits, for those of these that can be woken and were not in the last seconds."""
        ...


class Pusher(Protocol):
    """Carries wake-ups of some kinds."""

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        """Try once. May take its time, and may raise what its library raises."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class DisabledPusher:
    """Stands for a carrier that the operator has no account with."""

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:  # noqa: ARG002  as the protocol names them
        """Refuse."""
        return PushOutcome(PushResult.REFUSED)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class PushPool:
    """Carriers that share their fate: so many wake-ups of these kinds are under way at once."""

    kinds: Sequence[PushKind]
    pusher: Pusher
    max_concurrent: int


class WakeupSender:
    """Sends what is planned, beside everything else."""

    def __init__(self, store: WakeupStore, lanes: Sequence[PushPool]) -> None:
        self._store = store
        self._pools = lanes
        #: When a lane that was closed is tried again, by the loop's clock.
        self._reopens_at: dict[PushKind, float] = {}

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._pools:
                tasks.create_task(self._run_pool(lane))

    async def wake_for_call(self, mailboxes: Collection[MailboxKey]) -> None:
        """Wake these devices at once, even with empty mailboxes: something rings. Best effort, never raises."""
        try:
            await self._store.plan_urgent(mailboxes)
        except Unavailable as problem:
            log.warning("nobody woken", count=len(mailboxes), error=type(problem).__name__)

    async def _run_pool(self, lane: PushPool) -> Never:
        try:
            async with asyncio.TaskGroup() as tasks:
                running: set[asyncio.Task[None]] = set()
                while True:
                    taken = await self._claim(lane, lane.max_concurrent - len(running))
                    for wake in taken:
                        running.add(task := tasks.create_task(self._send(lane, wake)))
                        task.add_done_callback(running.discard)
                    if len(running) >= lane.max_concurrent:
                        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    else:
                        await asyncio.sleep(jittered(POLL_SECONDS, 0.75, 1.25))
        finally:
            await lane.pusher.close()

    async def _claim(self, lane: PushPool, limit: int) -> list[Wakeup]:
        if asyncio.get_running_loop().time() < self._reopens_at.get(lane.kinds[0], 0.0):
            return []
        try:
            return await self._store.claim(lane.kinds, limit)
        except Unavailable:
            # The sweeper tells of the outage; nothing is lost meanwhile.
            return []
        except Exception:  # noqa: BLE001
            # The other lanes go on, and so does this one.
            log.exception("chore failed", reason="wakes")
            return []

    async def _send(self, lane: PushPool, wake: Wakeup) -> None:
        outcome = await _push_once(lane.pusher, wake)
        PUSHED.labels(wake.target.kind.value, outcome.result.value).inc()
        if outcome.result is PushResult.CIRCUIT_OPEN:
            self._reopens_at[lane.kinds[0]] = asyncio.get_running_loop().time() + outcome.wait_seconds
        try:
            await self._record_outcome(wake, outcome)
        except Unavailable as problem:
            # The lease ends, and the device is woken once more.
            log.warning("wake-up not settled", error=type(problem).__name__)

    async def _record_outcome(self, wake: Wakeup, outcome: PushOutcome) -> None:
        if outcome.result is PushResult.SENT:
            await self._store.record_sent(wake, WAKEUP_COOLDOWNS[min(wake.times_woken, len(WAKEUP_COOLDOWNS) - 1)])
        elif outcome.result is PushResult.GONE:
            await self._store.delete_target(wake)
        elif outcome.result in (PushResult.BUSY, PushResult.CIRCUIT_OPEN):
            await self._store.release(wake, timedelta(seconds=outcome.wait_seconds))
        elif outcome.result is PushResult.REFUSED or wake.attempts >= MOST_ATTEMPTS:
            await self._store.reschedule(wake, None)
        else:
            await self._store.reschedule(wake, _backoff(wake, outcome))


async def _push_once(pusher: Pusher, wake: Wakeup) -> PushOutcome:
    try:
        async with asyncio.timeout(TRY_SECONDS):
            return await pusher.push(wake.target, is_urgent=wake.is_urgent)
    except Exception as problem:  # noqa: BLE001
        # Whatever a carrier's library raises: the lane goes on. Its text may name the endpoint.
        log.info("not pushed", reason=wake.target.kind.value, error=type(problem).__name__)
        return PushOutcome(PushResult.LATER)


def _backoff(wake: Wakeup, outcome: PushOutcome) -> timedelta:
    own = backoff_seconds(wake.attempts, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    asked = min(outcome.wait_seconds, LONGEST_WAIT_SECONDS)
    return timedelta(seconds=jittered(max(own, asked), 1, 1.25))
