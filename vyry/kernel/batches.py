"""Splitting what is too much for one request."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar


_T = TypeVar("_T")


def batched(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """The items in tuples of `size`, the last one shorter: `itertools.batched`, which Python 3.11 does not have."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch
