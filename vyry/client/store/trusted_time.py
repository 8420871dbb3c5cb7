"""A time that has certainly come: a clock that jumps ahead once must not delete messages, or the keys of late mail.

A profile may be unused for days. So a clock is in doubt only when it is more than a week after the last use of the profile, and until it has run on for 50 minutes
from where it was first seen ahead. Nothing expires meanwhile (docs/adr/0028).
"""

from dataclasses import dataclass
from typing import Final

from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


_MAX_JUMP_MS: Final = 7 * DAY_MS
#: Ms; less than the time between two expiry runs of a client that keeps running.
_CONFIRM_MS: Final = 3_000_000
#: Ms between two writes of the record.
_WRITE_EVERY_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """When the profile was last used, and what a clock in doubt first showed (0: none), in ms since 1970."""

    seen_at: int
    claimed_at: int = 0


def trusted_time(store: Store, now: int) -> int:
    """`now`, or the last use of the profile while the clock is in doubt."""
    record = _load_record(store)
    return now if record is None or now - record.seen_at <= _MAX_JUMP_MS else record.seen_at


def record_time(store: Store, now: int) -> None:
    """Record a use of the profile at `now`, by the machine's clock. Inside a transaction."""
    record = _load_record(store)
    if (
        record is None
        or now - record.seen_at <= _MAX_JUMP_MS
        or (record.claimed_at and now - record.claimed_at >= _CONFIRM_MS)
    ):
        if record is None or record.claimed_at or abs(now - record.seen_at) >= _WRITE_EVERY_MS:
            store.put(kinds.CLOCK, "", pack(ClockRecord(now)))
    elif not record.claimed_at or now < record.claimed_at:
        store.put(kinds.CLOCK, "", pack(ClockRecord(record.seen_at, now)))


def _load_record(store: Store) -> ClockRecord | None:
    packed = store.get(kinds.CLOCK)
    return unpack(ClockRecord, packed) if packed else None
