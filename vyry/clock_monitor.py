"""Compares the machine's clock with what the store has seen, so that a clock that jumps destroys nothing (docs/adr/0028).

The store keeps the latest moment that any node confirmed. A clock is in doubt when it differs by more than an hour from that moment plus the elapsed time;
meanwhile `Clock.confirmed_now` continues from the confirmed moment. The doubt ends when the clock agrees again, when an operator confirms it
(`vyry clock confirm`), or when it was stable for a tenth of the jump while no other node had another time, as after a node was off for long.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Never, Protocol

from vyry.clock import JUMP_THRESHOLD, CheckedClock
from vyry.errors import Unavailable
from vyry.telemetry import CLOCK_JUMP, log


CHECK_SECONDS: Final = 10.0
#: How often the time is recorded in the store.
RECORD_INTERVAL: Final = timedelta(minutes=1)
#: A claim that did not change for this many checks is from a node that is gone.
_STALE_CLAIM_CHECKS: Final = 3
#: A clock in doubt is accepted after it was stable for this part of its jump, within these bounds.
STABLE_FRACTION: Final = 10
STABLE_MIN: Final = timedelta(minutes=10)
STABLE_MAX: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """The time as the store knows it."""

    #: The latest confirmed moment; None in a new store.
    confirmed_at: datetime | None
    #: The database server's own clock; None where it has none.
    database_time: datetime | None
    #: The last reading of a clock in doubt; None without one.
    claimed_at: datetime | None


class ClockStore(Protocol):
    """The latest confirmed moment, shared by all nodes. Every method raises `Unavailable` while the database is down."""

    async def read(self) -> ClockRecord:
        """The current record."""
        ...

    async def record(self, moment: datetime) -> None:
        """Confirm this moment. An earlier one changes nothing."""
        ...

    async def replace_confirmed(self, seen_at: datetime, moment: datetime) -> bool:
        """Replace the confirmed moment `seen_at`, also by an earlier one, and clear the claim. False: another moment was confirmed meanwhile."""
        ...

    async def record_claim(self, moment: datetime | None) -> None:
        """Record the reading of a clock in doubt; None clears it."""
        ...

    async def force_confirmed(self, moment: datetime) -> None:
        """Confirm this moment for an operator, whatever was confirmed before."""
        ...


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A jump of the clock: the first reading after it, and the monotonic seconds of that reading."""

    reading: datetime
    since: float


class ClockMonitor:
    """Keeps a clock confirmed. `run` compares it every few seconds."""

    def __init__(self, clock: CheckedClock, store: ClockStore) -> None:
        self.clock = clock
        self._store = store
        self._confirmed_at: datetime | None = None
        self._jump: ClockJump | None = None
        self._claim: tuple[datetime | None, int] = (None, 0)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the clock has jumped, or was not checked yet."""
        return self._jump is not None or self.clock.expected_now() is None

    async def run(self) -> Never:
        """Check until cancelled; while the store is down the clock continues from the last confirmed moment."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with suppress(Unavailable):
                await self.check()

    async def check(self) -> None:
        """Check once. Raises Unavailable."""
        reading = await self._store.read()
        now = self.clock.now()
        is_moved, self._confirmed_at = reading.confirmed_at != self._confirmed_at, reading.confirmed_at
        expected = self._expected(reading, now, is_moved=is_moved)
        if abs(now - expected) <= JUMP_THRESHOLD:
            await self._accept(reading, now)
        else:
            await self._suspend(reading, now, expected, is_moved=is_moved)

    def _expected(self, reading: ClockRecord, now: datetime, *, is_moved: bool) -> datetime:
        """The expected time: the earliest of the confirmed time and the clock of the database server."""
        expected = self.clock.expected_now()
        if reading.confirmed_at is not None and (expected is None or is_moved):
            expected = reading.confirmed_at
        return min(each for each in (expected or now, reading.database_time) if each is not None)

    async def _accept(self, reading: ClockRecord, now: datetime) -> None:
        self.clock.confirm(now)
        if self._jump is not None:
            log.info("clock_ok", seconds=0)
        self._jump = None
        CLOCK_JUMP.set(0)
        if reading.confirmed_at is None or now - reading.confirmed_at >= RECORD_INTERVAL:
            await self._store.record(now)
            self._confirmed_at = now
        claim, looks = self._claim
        self._claim = reading.claimed_at, looks + 1 if claim == reading.claimed_at else 0
        if reading.claimed_at is not None and self._claim[1] >= _STALE_CLAIM_CHECKS:
            await self._store.record_claim(None)

    async def _suspend(self, reading: ClockRecord, now: datetime, expected: datetime, *, is_moved: bool) -> None:
        self.clock.confirm(expected)
        jump, doubt, elapsed = now - expected, self._jump, self.clock.elapsed()
        CLOCK_JUMP.set(jump.total_seconds())
        if doubt is None or abs(now - doubt.reading - timedelta(seconds=elapsed - doubt.since)) > JUMP_THRESHOLD:
            log.warning("clock_jump_detected", seconds=round(jump.total_seconds()), reason=_ADVICE)
        elif not is_moved:
            if elapsed - doubt.since >= required_stability(jump).total_seconds() and await self._accept_jump(
                reading, now
            ):
                return
            await self._store.record_claim(now)
            return
        # A new jump, or another node has another time: stability counts from now.
        self._jump = ClockJump(now, elapsed)
        await self._store.record_claim(now)

    async def _accept_jump(self, reading: ClockRecord, now: datetime) -> bool:
        """Accept a clock that was stable for long enough, unless the database server or another node has another time."""
        if reading.database_time is not None and abs(now - reading.database_time) > JUMP_THRESHOLD:
            return False
        if reading.confirmed_at is None or not await self._store.replace_confirmed(reading.confirmed_at, now):
            return False
        self._confirmed_at = now
        await self._accept(ClockRecord(now, reading.database_time, None), now)
        return True


_ADVICE: Final = (
    "Nothing is deleted for good meanwhile: set the clock right, or run `vyry clock confirm` if it is right."
)


def required_stability(jump: timedelta) -> timedelta:
    """How long a clock has to be stable after such a jump before it is accepted."""
    return max(STABLE_MIN, min(STABLE_MAX, abs(jump) / STABLE_FRACTION))
