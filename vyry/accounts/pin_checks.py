"""The rate limit on requests that hash a PIN, whatever their outcome."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vyry.accounts.pin import Guesser, HashingSlot, PinHasher
from vyry.limits import PIN_CHECKS, Grant
from vyry.local_limits import BucketLimiter


class CountedHasher:
    """PinHasher that counts each acquired slot as one check; a refused request does not count."""

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
        # Without a check left, the quota refuses: its wait is the longer one.
        if self._buckets.peek(PIN_CHECKS, subject).remaining:
            self._hasher.check_capacity(guesser)
        self._buckets.consume(subject, (PIN_CHECKS, 1))
        async with self._hasher.acquire_slot(guesser) as slot:
            yield slot


def checks_left(buckets: BucketLimiter, guesser: Guesser) -> list[tuple[str, Grant]]:
    """The remaining checks of the account's devices, or at its registration lock, by the name of the quota."""
    return [(PIN_CHECKS.name, buckets.peek(PIN_CHECKS, _subject(guesser)))]


def _subject(guesser: Guesser) -> str:
    """Devices and the registration lock have separate counts: a stolen device cannot use up the checks of the lock."""
    return f"lock {guesser.account_id}" if guesser.is_at_lock else str(guesser.account_id)
