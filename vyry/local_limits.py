"""Limits counted in this process: for all quotas while Redis is down, and always for what happens per envelope or frame, which may not wait."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from vyry.kernel.lru_cache import LruCache
from vyry.limits import (
    MAX_EXACT_LIMIT,
    QUOTAS,
    Grant,
    Quota,
    QuotaWindow,
    rate_limit_error,
    unused_grant,
    unused_grants,
)


#: The state of a window: for a bucket the time when it is full again, for a sliding window its times and the usage at each.
_State = float | list[tuple[float, int]]
#: Sums of floats are not exact: a microsecond is no reason to refuse.
_SLACK = 1e-6


class LocalLimiter:
    """The same answers as those for all nodes together, for one process alone and without waiting.

    `quotas` are those of `apply_overrides`, `is_on` is VYRY_LIMITS. At most `capacity` subjects are remembered.
    """

    def __init__(self, quotas: Mapping[str, Quota] = QUOTAS, *, is_on: bool = True, capacity: int = 100_000) -> None:
        self._quotas = quotas
        self._is_on = is_on
        self._states: LruCache[tuple[str, str], list[_State]] = LruCache(capacity)

    def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        """Consume `cost` of the quota for the subject. Raises RateLimited with the exact wait; a refused call consumes nothing."""
        if not self._is_on:
            return unused_grant(quota)
        quota, now = self._quotas.get(quota.name, quota), time.monotonic()
        before = self._current_states(quota, (quota.name, subject), now)
        waits = [_seconds_until_free(each, state, now, cost) for each, state in zip(quota.windows, before, strict=True)]
        longest = max(waits)
        if longest > _SLACK:
            raise rate_limit_error(quota, waits.index(longest), longest)
        return self._record(quota, subject, cost, now)

    def charge(self, quota: Quota, subject: str, cost: int) -> Grant:
        """Count `cost` for the subject, whatever is left."""
        if not self._is_on:
            return unused_grant(quota)
        return self._record(self._quotas.get(quota.name, quota), subject, cost, time.monotonic())

    def _record(self, quota: Quota, subject: str, cost: int, now: float) -> Grant:
        key = (quota.name, subject)
        before = self._current_states(quota, key, now)
        after = [_add_usage(each, state, now, cost) for each, state in zip(quota.windows, before, strict=True)]
        self._states.put(key, after)
        lefts = (_remaining(each, state, now) for each, state in zip(quota.windows, after, strict=True))
        return min(lefts, key=lambda grant: grant.remaining)

    def peek(self, quota: Quota, subject: str) -> tuple[Grant, ...]:
        """What each window has left; consumes nothing."""
        quota, now = self._quotas.get(quota.name, quota), time.monotonic()
        states = self._current_states(quota, (quota.name, subject), now)
        return tuple(_remaining(each, state, now) for each, state in zip(quota.windows, states, strict=True))

    def _current_states(self, quota: Quota, key: tuple[str, str], now: float) -> list[_State]:
        states = self._states.get(key) or [now if each.is_bucket else [] for each in quota.windows]
        return [
            max(state, now) if isinstance(state, float) else [entry for entry in state if entry[0] + each.seconds > now]
            for each, state in zip(quota.windows, states, strict=True)
        ]


def _seconds_until_free(window: QuotaWindow, state: _State, now: float, cost: int) -> float:
    """In how many seconds the window has capacity for `cost`; 0 or less: now."""
    if isinstance(state, float):
        return state + cost * window.seconds / window.limit - now - window.seconds
    excess = sum(count for _, count in state) + cost - window.limit
    if excess <= 0:
        return 0.0
    for moment, count in state:
        excess -= count
        if excess <= 0:
            return moment + window.seconds - now
    return float(window.seconds)


def _add_usage(window: QuotaWindow, state: _State, now: float, cost: int) -> _State:
    if isinstance(state, float):
        return state + cost * window.seconds / window.limit
    moment = now if window.limit <= MAX_EXACT_LIMIT else math.ceil(now / window.grain_seconds) * window.grain_seconds
    if state and state[-1][0] >= moment:
        return [*state[:-1], (state[-1][0], state[-1][1] + cost)]
    return [*state, (moment, cost)]


def _remaining(window: QuotaWindow, state: _State, now: float) -> Grant:
    if isinstance(state, float):
        return _bucket_remaining(window, state - now)
    used = sum(count for _, count in state)
    back = state[-1][0] + window.seconds - now if state else 0
    return Grant(window.limit, max(0, window.limit - used), math.ceil(back), window.seconds)


def _bucket_remaining(window: QuotaWindow, debt_seconds: float) -> Grant:
    remaining = int((window.seconds - debt_seconds) * window.limit / window.seconds + _SLACK)
    return Grant(window.limit, max(0, remaining), math.ceil(debt_seconds), window.seconds)


class Consumption(NamedTuple):
    """Usage of one bucket in this process that the other nodes do not have yet."""

    quota: str
    subject: str
    cost: int


class _Bucket:
    """One quota: when it is full again for each subject with recent usage, in monotonic seconds."""

    __slots__ = ("consumed", "full_at", "quota", "seconds_per_token", "window")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.window = quota.windows[0]
        self.seconds_per_token = self.window.seconds / self.window.limit
        self.full_at: OrderedDict[str, float] = OrderedDict()
        self.consumed: dict[str, int] = {}

    def store(self, subject: str, full_at: float, now: float) -> None:
        """Store the subject, and delete a few whose bucket is full again: the memory is bounded by recent usage."""
        self.full_at[subject] = full_at
        self.full_at.move_to_end(subject)
        for _ in range(2):
            oldest = next(iter(self.full_at), None)
            if oldest is None or self.full_at[oldest] > now:
                break
            del self.full_at[oldest]


class BucketLimiter:
    """Buckets that decide at once, and are merged with those of the other nodes a moment later.

    Theory: a bucket is one number, the time when it is full again, and usage adds to it in any order. So each node decides at once by its own number;
    about every 50 ms vyry/redis/shared_buckets.py adds the usage of this node to the shared number and reads that number. The nodes together grant too
    much by at most what each of them grants within one such interval.
    """

    def __init__(self, quotas: Mapping[str, Quota] = QUOTAS, *, is_on: bool = True, capacity: int = 100_000) -> None:
        self._is_on = is_on
        self._capacity = capacity
        self._quotas = quotas
        self._buckets: dict[str, _Bucket] = {}
        #: Set while there is usage that the other nodes do not have yet.
        self.has_consumed = asyncio.Event()

    def consume(self, subject: str, *costs: tuple[Quota, int]) -> None:
        """Consume all of these for the subject, or nothing. Raises RateLimited with the exact wait."""
        if not self._is_on:
            return
        now = time.monotonic()
        after = []
        for quota, cost in costs:
            bucket = self._buckets.get(quota.name) or self._bucket(quota)
            full_at = max(bucket.full_at.get(subject, now), now) + cost * bucket.seconds_per_token
            wait = full_at - now - bucket.window.seconds
            if wait > _SLACK:
                raise rate_limit_error(bucket.quota, 0, wait)
            after.append((bucket, full_at, cost))
        for bucket, full_at, cost in after:
            self._record(bucket, subject, full_at, cost)
        self.has_consumed.set()

    def charge(self, subject: str, quota: Quota, cost: int) -> None:
        """Count `cost` whatever is left, as a debt if need be. A negative cost gives back what was consumed too much."""
        if self._is_on and cost:
            bucket, now = self._bucket(quota), time.monotonic()
            self._record(
                bucket, subject, max(bucket.full_at.get(subject, now), now) + cost * bucket.seconds_per_token, cost
            )
            self.has_consumed.set()

    def _record(self, bucket: _Bucket, subject: str, full_at: float, cost: int) -> None:
        bucket.store(subject, full_at, time.monotonic())
        bucket.consumed[subject] = bucket.consumed.get(subject, 0) + cost
        if len(bucket.full_at) > self._capacity:
            bucket.full_at.popitem(last=False)
        if len(bucket.consumed) > self._capacity:
            bucket.consumed.clear()

    def peek(self, quota: Quota, subject: str) -> Grant:
        """What is left; consumes nothing."""
        if not self._is_on:
            return unused_grants(quota)[0]
        bucket, now = self._bucket(quota), time.monotonic()
        return _bucket_remaining(bucket.window, max(0.0, bucket.full_at.get(subject, now) - now))

    def pop_consumed(self) -> list[Consumption]:
        """The usage since the last call, which the caller passes on to the other nodes."""
        self.has_consumed.clear()
        found = []
        for name, bucket in self._buckets.items():
            taken, bucket.consumed = bucket.consumed, {}
            found += [Consumption(name, subject, cost) for subject, cost in taken.items()]
        return found

    def merge(self, quota: str, subject: str, debt_seconds: float, measured_at: float) -> None:
        """At `measured_at` (monotonic) the shared bucket needed `debt_seconds` until full. Usage here since then is added."""
        bucket, now = self._buckets[quota], time.monotonic()
        full_at = measured_at + debt_seconds + bucket.consumed.get(subject, 0) * bucket.seconds_per_token
        if full_at > max(now, bucket.full_at.get(subject, 0.0)):
            bucket.store(subject, full_at, now)

    def window(self, quota: str) -> QuotaWindow:
        """The size and the refill rate of this bucket."""
        return self._buckets[quota].window

    def _bucket(self, quota: Quota) -> _Bucket:
        found = self._buckets.get(quota.name)
        if found is None:
            found = self._buckets[quota.name] = _Bucket(self._quotas.get(quota.name, quota))
        return found
