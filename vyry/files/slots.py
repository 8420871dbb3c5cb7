"""How many may do something at once, in one process: each holds memory or a connection."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from vyry.errors import RateLimited, Unavailable


#: When to come back.
RETRY_SECONDS = 2


class Slots:
    """`total` places, of which one subject takes `each` at most."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def held(self, subject: Hashable) -> Iterator[None]:
        """A place for the length of the block. Raises RateLimited when the subject has all of its own, Unavailable when all are taken."""
        if self._held[subject] >= self._each:
            raise RateLimited(RETRY_SECONDS, "You do too many of these at once.")
        if self._held.total() >= self._total:
            raise Unavailable("The node does too many of these at once.", RETRY_SECONDS)
        self._held[subject] += 1
        try:
            yield
        finally:
            self._held[subject] -= 1
            if not self._held[subject]:
                del self._held[subject]
