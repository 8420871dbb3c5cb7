"""Splits a sequence into parts of a limited size."""

from collections.abc import Iterator, Sequence
from typing import TypeVar


Item = TypeVar("Item")


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in order, at most `size` in each part; nothing for an empty sequence."""
    return (items[start : start + size] for start in range(0, len(items), size))
