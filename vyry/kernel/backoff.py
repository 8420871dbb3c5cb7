"""Waits between attempts."""

import secrets


_RANDOM = secrets.SystemRandom()


def jittered(seconds: float, low: float, high: float) -> float:
    """The wait times a random factor between `low` and `high`, so that many callers do not retry at the same moment."""
    return seconds * _RANDOM.uniform(low, high)


def backoff_seconds(failures: int, first: float, longest: float) -> float:
    """The wait after so many failures in a row: `first` after one, then doubling up to `longest`."""
    return min(first * 2.0 ** min(max(0, failures - 1), 30), longest)
