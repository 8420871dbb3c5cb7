"""A cache that keeps the entries used last."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar


_K = TypeVar("_K")
_V = TypeVar("_V")


class LruCache(Generic[_K, _V]):
    """Evicts the entries used least recently while all entries together weigh more than `capacity`. An entry weighs 1, or what `weight` returns."""

    def __init__(self, capacity: int, weight: Callable[[_V], int] = lambda _: 1) -> None:
        self._capacity = capacity
        self._weigh = weight
        self._entries: OrderedDict[_K, _V] = OrderedDict()
        #: The weight of all entries.
        self.weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._entries)

    def get(self, key: _K) -> _V | None:
        """The value, which counts as used now; None if there is none."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Store a value, which counts as used now."""
        self.pop(key)
        self._entries[key] = value
        self.weight += self._weigh(value)
        while self.weight > self._capacity:
            self.weight -= self._weigh(self._entries.popitem(last=False)[1])

    def pop(self, key: _K) -> _V | None:
        """Remove a value and return it; None if there is none."""
        value = self._entries.pop(key, None)
        if value is not None:
            self.weight -= self._weigh(value)
        return value
