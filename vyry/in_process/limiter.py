"""The rate limiter of a node that runs alone."""

from collections.abc import Mapping, Sequence

from vyry.limits import QUOTAS, Grant, Quota
from vyry.local_limits import LocalLimiter


class InProcessLimiter:
    """Counts in the memory of this process, so no quota is ever unavailable. A restart forgets all counts."""

    def __init__(self, quotas: Mapping[str, Quota] = QUOTAS) -> None:
        self._local = LocalLimiter(quotas)

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        return self._local.consume(quota, subject, cost)

    async def charge(self, quota: Quota, subject: str, cost: int) -> Grant:
        return self._local.charge(quota, subject, cost)

    async def peek(self, asked: Sequence[tuple[Quota, str]]) -> list[tuple[Grant, ...]]:
        """See QuotaReader."""
        return [self._local.peek(quota, subject) for quota, subject in asked]
