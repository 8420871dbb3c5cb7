"""Limits: the named quotas of api.md section 10, and who grants them.

A `Quota` is one or more rates that hold together. A sliding window never admits more than `limit` in any stretch of `seconds`; a bucket holds `limit` and
refills at `limit` each `seconds`. Sizes and guesses are no rates: they are held by the database and never switched off.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final, Protocol

from vyry.errors import RateLimited


_DAY: Final = 86_400
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` in any `seconds`; a bucket instead gives them back one by one."""

    limit: int
    seconds: int
    is_bucket: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """A named limit. Its setting is `VYRY_LIMIT_` and the name in capitals."""

    name: str
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What the tightest window of a quota has left after a take, and in how many seconds all of it is back."""

    limit: int
    remaining: int
    reset_seconds: int
    window: int


OTP_NUMBER: Final = Quota("otp_number", (Window(1, 30), Window(3, 600), Window(10, _DAY)))
OTP_NETWORK: Final = Quota("otp_network", (Window(10, 600), Window(50, _DAY)))
CLAIM_TARGET: Final = Quota("claim_target", (Window(6, 3600, is_bucket=True),))
CLAIM_ALL: Final = Quota("claim_all", (Window(60, 3600),))
POST: Final = Quota("post", (Window(60, 60, is_bucket=True),))
POST_BYTES: Final = Quota("post_bytes", (Window(128 * _MIB, _DAY),))
NEW_CONTACTS: Final = Quota("new_contacts", (Window(20, _DAY),))
SIGNAL: Final = Quota("signal", (Window(20, 1, is_bucket=True),))

#: Every quota by its name: what `VYRY_LIMIT_<NAME>` may name.
QUOTAS: Final[Mapping[str, Quota]] = {
    quota.name: quota
    for quota in (
        OTP_NUMBER,
        OTP_NETWORK,
        CLAIM_TARGET,
        CLAIM_ALL,
        POST,
        POST_BYTES,
        NEW_CONTACTS,
        SIGNAL,
    )
}


class Limiter(Protocol):
    """Counts takes per subject, for all nodes together."""

    async def take(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        """Take `cost` of the quota for the subject; a refused take counts for nothing.

        Raises RateLimited with the wait after which the same take will be granted if nobody else takes meanwhile.
        """
        ...


class Unlimited:
    """Grants everything (VYRY_LIMITS=off)."""

    async def take(self, quota: Quota, subject: str, cost: int = 1) -> Grant:  # noqa: ARG002 - the protocol's signature
        """Grant, and count nothing."""
        return untouched(quota)


class LocalLimiter:
    """Counts in this process alone, without waiting: for what happens per envelope or frame, and when Redis is away.

    `quotas` are those of `overridden`, `is_on` is VYRY_LIMITS. Each node counts for itself (the next issue joins them), and every window is kept as a bucket. At most `capacity` subjects are remembered:
    the one forgotten first is the one whose last take is longest ago.
    """

    def __init__(self, quotas: Mapping[str, Quota] = QUOTAS, *, is_on: bool = True, capacity: int = 100_000) -> None:
        self._quotas = quotas
        self._is_on = is_on
        self._capacity = capacity
        #: When each bucket will be full again, in monotonic seconds.
        self._full_at: OrderedDict[tuple[str, str], tuple[float, ...]] = OrderedDict()

    def take(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        """Take `cost` of the quota for the subject. Raises RateLimited with the true wait; a refused take counts for nothing."""
        if not self._is_on:
            return untouched(quota)
        windows = self._quotas.get(quota.name, quota).windows
        key = (quota.name, subject)
        now = time.monotonic()
        before = self._full_at.get(key) or (now,) * len(windows)
        after = tuple(max(at, now) + cost * each.seconds / each.limit for at, each in zip(before, windows, strict=True))
        wait = max(at - now - each.seconds for at, each in zip(after, windows, strict=True))
        # A sum of thirds is not exact: a millionth of a second is no reason to refuse.
        if wait > 1e-6:
            raise RateLimited(math.ceil(wait))
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return min(
            (_left(each, at - now) for at, each in zip(after, windows, strict=True)), key=lambda grant: grant.remaining
        )


@cache
def untouched(quota: Quota) -> Grant:
    """The grant of somebody who has taken nothing."""
    tightest = min(quota.windows, key=lambda each: each.limit)
    return Grant(tightest.limit, tightest.limit, 0, tightest.seconds)


def overridden(rates: Mapping[str, tuple[int, timedelta]]) -> dict[str, Quota]:
    """All quotas, as the settings want them: a rate replaces all windows of its quota by one of their kind. Raises ValueError for an unknown name."""
    unknown = rates.keys() - QUOTAS.keys()
    if unknown:
        raise ValueError(f"no such limit: {', '.join(sorted(unknown))} (there are {', '.join(QUOTAS)})")
    quotas = dict(QUOTAS)
    for name, (limit, period) in rates.items():
        is_bucket = QUOTAS[name].windows[0].is_bucket
        quotas[name] = Quota(name, (Window(limit, int(period.total_seconds()), is_bucket=is_bucket),))
    return quotas


def _left(window: Window, debt_seconds: float) -> Grant:
    remaining = int((window.seconds - debt_seconds) * window.limit / window.seconds + 1e-6)
    return Grant(window.limit, max(0, remaining), math.ceil(debt_seconds), window.seconds)
