"""What time it is for sure: a machine whose clock jumps ahead once must not delete what was said, or the keys of mail that comes late.

A profile may be unused for days. So a clock is in doubt only when it is more than a week after the profile was last used, and until it has gone on by an hour
from where it was first seen ahead. Nothing is deleted meanwhile (docs/adr/0028).
"""

from dataclasses import dataclass
from typing import Final

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


_JUMP: Final = 7 * DAY_MS
#: Less than the time between two sweeps of a client that runs on.
_HELD: Final = 3_000_000
#: What was noted is not written again for so long.
_NOTE_EVERY: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """When the profile was used last, and what a clock in doubt said first (0: none is), in ms since 1970."""

    seen_at: int
    claimed_at: int = 0


def trusted_time(store: Store, now: int) -> int:
    """A moment that has come for sure: `now`, unless the clock is in doubt."""
    seen = _load_record(store)
    return now if seen is None or now - seen.seen_at <= _JUMP else seen.seen_at


def record_time(store: Store, now: int) -> None:
    """The profile is used now, by its machine's clock. Inside a transaction."""
    seen = _load_record(store)
    if seen is None or now - seen.seen_at <= _JUMP or (seen.claimed_at and now - seen.claimed_at >= _HELD):
        if seen is None or seen.claimed_at or abs(now - seen.seen_at) >= _NOTE_EVERY:
            store.put(kinds.CLOCK, "", pack(ClockRecord(now)))
    elif not seen.claimed_at or now < seen.claimed_at:
        store.put(kinds.CLOCK, "", pack(ClockRecord(seen.seen_at, now)))


def _load_record(store: Store) -> ClockRecord | None:
    kept = store.get(kinds.CLOCK)
    return unpack(ClockRecord, kept) if kept else None
