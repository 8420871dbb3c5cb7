"""The limit on requests that hash a PIN: right or wrong, given or set, and where none is set. What comes of them is not asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vyry.accounts.pin import Guesser, HashingSlot, PinHasher
from vyry.limits import PIN_CHECKS, Grant
from vyry.local_limits import BucketLimiter


class CountedHasher:
    """PinHasher that counts each place as one check. A refused one counts for nothing."""

    def __init__(self, hasher: PinHasher, buckets: BucketLimiter) -> None:
        self._hasher = hasher
        self._buckets = buckets

    def check_capacity(self, guesser: Guesser) -> None:
        """See PinHasher."""
        self._hasher.check_capacity(guesser)

    @asynccontextmanager
    async def acquire_slot(self, guesser: Guesser) -> AsyncIterator[HashingSlot]:
        """See PinHasher; also raises RateLimited when no check is left."""
        subject = _subject(guesser)
        # With nothing left the quota refuses, for its wait is the longer one.
        if self._buckets.peek(PIN_CHECKS, subject).remaining:
            self._hasher.check_capacity(guesser)
        self._buckets.consume(subject, (PIN_CHECKS, 1))
        async with self._hasher.acquire_slot(guesser) as place:
            yield place


def checks_left(buckets: BucketLimiter, guesser: Guesser) -> list[tuple[str, Grant]]:
    """How many more requests may hash, by the limit's name: of the account's devices, or at its registration lock."""
    return [(PIN_CHECKS.name, buckets.peek(PIN_CHECKS, _subject(guesser)))]


def _subject(guesser: Guesser) -> str:
    """Whoever has a device of the account cannot use up the checks of its registration lock."""
    return f"lock {guesser.account_id}" if guesser.is_at_lock else str(guesser.account_id)
