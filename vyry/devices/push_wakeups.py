"""Push wake-ups: planned wake-ups are sent to the push services, at least once, and independently of the mail.

A deposit plans a wake-up in its backoff transaction (a trigger: migrations/0001_postgres_triggers.sql). Workers claim due wake-ups with a lease; if a worker
dies, another one claims them after it. Each push service has a pool of its backoff, so a slow service does not delay the others.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Never, Protocol
from uuid import UUID

from vyry.devices.push import PushKind, PushTarget
from vyry.errors import Unavailable
from vyry.kernel.backoff import backoff_seconds, jittered
from vyry.kernel.ids import MailboxKey
from vyry.telemetry import PUSHED, log


#: How long new mail does not wake a device again that has not connected, by how often it was woken.
WAKEUP_COOLDOWNS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360))
#: The backoff between attempts of one wake-up: doubling, with jitter of a quarter.
FIRST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 900.0
#: After so many attempts a wake-up is dropped; new mail plans another one.
MOST_ATTEMPTS: Final = 12
POLL_SECONDS: Final = 0.5
#: The timeout of one attempt. A lease (vyry/storage/push.py) is longer.
TRY_SECONDS: Final = 15.0


class PushResult(Enum):
    """The result of one attempt."""

    SENT = "sent"
    #: The push service does not know the target any more.
    GONE = "gone"
    #: A permanent error for this wake-up; the target stays.
    REFUSED = "refused"
    #: A temporary error: retry.
    LATER = "later"
    #: Not attempted: too many pushes to this host, or its circuit breaker is open.
    BUSY = "busy"
    #: Not attempted: the circuit breaker of the whole pool is open.
    CIRCUIT_OPEN = "circuit_open"


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The result of an attempt; `wait_seconds` is the wait that the push service requested, `status` the HTTP status of its response (0: none)."""

    result: PushResult
    wait_seconds: float = 0.0
    status: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A wake-up claimed by this worker until `lease_ends_at`."""

    device: UUID
    target: PushTarget
    is_urgent: bool
    #: How often the device was woken since it last connected, and the number of this attempt.
    times_woken: int
    attempts: int
    lease_ends_at: datetime


class WakeupStore(Protocol):
    """Stores planned wake-ups. All methods raise `Unavailable` while the database is down; a result after the end of the lease changes nothing."""

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wakeup]:
        """Claim at most `limit` due wake-ups for the length of a lease; those of devices that have connected meanwhile are dropped."""
        ...

    async def record_sent(self, wake: Wakeup, rest: timedelta) -> None:
        """The push was sent. Mail since the claim, and later mail, wakes the device again after the cooldown `rest`, unless it connects before."""
        ...

    async def reschedule(self, wake: Wakeup, wait: timedelta | None) -> None:
        """Make it due again after the wait; None drops it until new mail arrives."""
        ...

    async def release(self, wake: Wakeup, wait: timedelta) -> None:
        """It was not attempted, and is due again after the wait."""
        ...

    async def delete_target(self, wake: Wakeup) -> None:
        """Delete the push target, unless the device has registered another one meanwhile."""
        ...

    async def record_report(self, wake: Wakeup, outcome: PushOutcome) -> None:
        """Keep the outcome of this attempt for the operator, in place of the one before."""
        ...

    async def plan_urgent(self, mailboxes: Collection[MailboxKey]) -> None:
        """Plan an urgent wake-up, due now and sent even without mail, for the mailboxes with a push target that were not woken in the last seconds."""
        ...


class Pusher(Protocol):
    """Sends pushes of some kinds."""

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        """Attempt one push. It may hang, and may raise any error of its library."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class DisabledPusher:
    """The pusher of a push service that is not configured."""

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:  # noqa: ARG002  as the protocol names them
        """Refuse every push."""
        return PushOutcome(PushResult.REFUSED)

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class PushPool:
    """A pusher for some kinds, with at most `max_concurrent` pushes at once. Its kinds share a circuit breaker."""

    kinds: Sequence[PushKind]
    pusher: Pusher
    max_concurrent: int


class WakeupSender:
    """Sends planned wake-ups."""

    def __init__(self, store: WakeupStore, pools: Sequence[PushPool]) -> None:
        self._store = store
        self._pools = pools
        #: When a closed pool is used again, by the clock of the event loop.
        self._reopens_at: dict[PushKind, float] = {}

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for pool in self._pools:
                tasks.create_task(self._run_pool(pool))

    async def wake_for_call(self, mailboxes: Collection[MailboxKey]) -> None:
        """Wake these devices at once for a call, even with empty mailboxes. Best effort, never raises."""
        try:
            await self._store.plan_urgent(mailboxes)
        except Unavailable as problem:
            log.warning("urgent_push_not_planned", count=len(mailboxes), error=type(problem).__name__)

    async def _run_pool(self, pool: PushPool) -> Never:
        try:
            async with asyncio.TaskGroup() as tasks:
                running: set[asyncio.Task[None]] = set()
                while True:
                    taken = await self._claim(pool, pool.max_concurrent - len(running))
                    for wake in taken:
                        running.add(task := tasks.create_task(self._send(pool, wake)))
                        task.add_done_callback(running.discard)
                    if len(running) >= pool.max_concurrent:
                        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    else:
                        await asyncio.sleep(jittered(POLL_SECONDS, 0.75, 1.25))
        finally:
            await pool.pusher.close()

    async def _claim(self, pool: PushPool, limit: int) -> list[Wakeup]:
        if asyncio.get_running_loop().time() < self._reopens_at.get(pool.kinds[0], 0.0):
            return []
        try:
            return await self._store.claim(pool.kinds, limit)
        except Unavailable:
            # The sweeper logs the outage; planned wake-ups stay.
            return []
        except Exception:  # noqa: BLE001
            # This pool and the others go on.
            log.exception("push_claim_failed")
            return []

    async def _send(self, pool: PushPool, wake: Wakeup) -> None:
        outcome = await _push_once(pool.pusher, wake)
        PUSHED.labels(wake.target.kind.value, outcome.result.value).inc()
        if outcome.result is PushResult.CIRCUIT_OPEN:
            self._reopens_at[pool.kinds[0]] = asyncio.get_running_loop().time() + outcome.wait_seconds
        try:
            await self._record_outcome(wake, outcome)
        except Unavailable as problem:
            # The lease expires, and the device is woken once more.
            log.warning("push_result_not_saved", error=type(problem).__name__)

    async def _record_outcome(self, wake: Wakeup, outcome: PushOutcome) -> None:
        if outcome.result not in (PushResult.BUSY, PushResult.CIRCUIT_OPEN):
            await self._store.record_report(wake, outcome)
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
        # The pool goes on after any error. The text of the error is not logged: it may contain the endpoint.
        log.info("push_failed", reason=wake.target.kind.value, error=type(problem).__name__)
        return PushOutcome(PushResult.LATER)


def _backoff(wake: Wakeup, outcome: PushOutcome) -> timedelta:
    backoff = backoff_seconds(wake.attempts, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    requested = min(outcome.wait_seconds, LONGEST_WAIT_SECONDS)
    return timedelta(seconds=jittered(max(backoff, requested), 1, 1.25))
