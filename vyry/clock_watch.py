"""Compares the machine's clock with what the store has seen, so that a clock that jumps destroys nothing (docs/adr/0028).

The store keeps the latest moment that any node of it confirmed. A clock that is more than an hour from that moment and the time that passed since is in
doubt: `Clock.confirmed` goes on from the confirmed moment meanwhile. The doubt ends when the clock agrees again, when an operator confirms it
(`vyry clock confirm`), or when it held still for a tenth of the jump while no other node of the store had another time: a node that was off for long is
right.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Never, Protocol

from vyry.clock import JUMP, CheckedClock
from vyry.errors import Unavailable
from vyry.telemetry import CLOCK_JUMP, log


LOOK_SECONDS: Final = 10.0
#: The store is told the time this often.
NOTE_EVERY: Final = timedelta(minutes=1)
#: A claim that did not move for so many looks is of a node that is gone.
_CLAIM_LASTS: Final = 3
#: A clock in doubt is believed after it held still for this part of its jump, within these bounds.
HELD_PART: Final = 10
HELD_LEAST: Final = timedelta(minutes=10)
HELD_MOST: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the store knows of the time."""

    #: The latest moment that was confirmed; None in a new store.
    seen_at: datetime | None
    #: The database server's own clock; None where it has none.
    server_at: datetime | None
    #: What a clock in doubt said last; None while there is none.
    claimed_at: datetime | None


class ClockStore(Protocol):
    """Where nodes share the latest moment that was confirmed. Every method raises `Unavailable` when the database is away."""

    async def read(self) -> Reading:
        """What the store knows now."""
        ...

    async def note(self, moment: datetime) -> None:
        """This moment is confirmed. What the store has seen never goes back by this."""
        ...

    async def settle(self, seen_at: datetime, moment: datetime) -> bool:
        """This moment is confirmed in place of that one, also if it is earlier, and no claim stands. False: the store has seen another one meanwhile."""
        ...

    async def claim(self, moment: datetime | None) -> None:
        """A clock in doubt says this; None: there is no such clock any more."""
        ...

    async def confirm(self, moment: datetime) -> None:
        """An operator says that it is this moment, whatever the store has seen."""
        ...


@dataclass(frozen=True, slots=True)
class Doubt:
    """A clock that jumped: what it said at first, and when that was in seconds that no clock changes."""

    said: datetime
    since: float


class ClockWatch:
    """Keeps a clock confirmed. `run` compares it every few seconds."""

    def __init__(self, clock: CheckedClock, store: ClockStore) -> None:
        self.clock = clock
        self._store = store
        self._seen_at: datetime | None = None
        self._doubt: Doubt | None = None
        self._claim: tuple[datetime | None, int] = (None, 0)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the clock has jumped, or was not compared yet."""
        return self._doubt is not None or self.clock.expected() is None

    async def run(self) -> Never:
        """Compare until cancelled; while the store is away the clock goes on by what was confirmed last."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(Unavailable):
                await self.look()

    async def look(self) -> None:
        """Compare once. Raises Unavailable."""
        reading = await self._store.read()
        now = self.clock.now()
        is_moved, self._seen_at = reading.seen_at != self._seen_at, reading.seen_at
        expected = self._expected(reading, now, is_moved=is_moved)
        if abs(now - expected) <= JUMP:
            await self._agree(reading, now)
        else:
            await self._hold(reading, now, expected, is_moved=is_moved)

    def _expected(self, reading: Reading, now: datetime, *, is_moved: bool) -> datetime:
        """What the clock should say, by the earliest of those that may know."""
        expected = self.clock.expected()
        if reading.seen_at is not None and (expected is None or is_moved):
            expected = reading.seen_at
        return min(each for each in (expected or now, reading.server_at) if each is not None)

    async def _agree(self, reading: Reading, now: datetime) -> None:
        self.clock.confirm(now)
        if self._doubt is not None:
            log.info("clock agrees", seconds=0)
        self._doubt = None
        CLOCK_JUMP.set(0)
        if reading.seen_at is None or now - reading.seen_at >= NOTE_EVERY:
            await self._store.note(now)
            self._seen_at = now
        claim, looks = self._claim
        self._claim = reading.claimed_at, looks + 1 if claim == reading.claimed_at else 0
        if reading.claimed_at is not None and self._claim[1] >= _CLAIM_LASTS:
            await self._store.claim(None)

    async def _hold(self, reading: Reading, now: datetime, expected: datetime, *, is_moved: bool) -> None:
        self.clock.confirm(expected)
        jump, doubt, elapsed = now - expected, self._doubt, self.clock.elapsed()
        CLOCK_JUMP.set(jump.total_seconds())
        if doubt is None or abs(now - doubt.said - timedelta(seconds=elapsed - doubt.since)) > JUMP:
            log.warning("clock jumped", seconds=round(jump.total_seconds()), state="in doubt", problem=_ADVICE)
        elif not is_moved:
            if elapsed - doubt.since >= held(jump).total_seconds() and await self._settle(reading, now):
                return
            await self._store.claim(now)
            return
        # A new jump, or another node of this store has another time: holding still proves nothing yet.
        self._doubt = Doubt(now, elapsed)
        await self._store.claim(now)

    async def _settle(self, reading: Reading, now: datetime) -> bool:
        """The clock held still for long enough: believe it, unless somebody else knows better."""
        if reading.server_at is not None and abs(now - reading.server_at) > JUMP:
            return False
        if reading.seen_at is None or not await self._store.settle(reading.seen_at, now):
            return False
        self._seen_at = now
        await self._agree(Reading(now, reading.server_at, None), now)
        return True


_ADVICE: Final = (
    "Nothing is deleted for good meanwhile: set the clock right, or run `vyry clock confirm` if it is right."
)


def held(jump: timedelta) -> timedelta:
    """How long a clock that jumped so far has to hold still before it is believed."""
    return max(HELD_LEAST, min(HELD_MOST, abs(jump) / HELD_PART))
