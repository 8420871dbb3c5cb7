"""The two loads: pairs of senders and receivers, encoding, and the interval of acknowledgements."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from bench.wire import Codec


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One load. Without `is_crossed` each sender has one receiver of its own, with it every sender posts to every receiver."""

    name: str
    codec: Codec
    senders: int
    receivers: int
    is_crossed: bool
    #: Between two acknowledgements of a device; 0: each frame of entries at once.
    acknowledge_seconds: float

    def couples(self, senders: Sequence[T], receivers: Sequence[T]) -> list[tuple[T, T]]:
        """Sender and receiver in the order in which they post: neighbours have different senders and different receivers."""
        if not self.is_crossed:
            return list(zip(senders, receivers, strict=True))
        stride = len(receivers) // len(senders)
        return [
            (sender, receivers[(number * stride + turn) % len(receivers)])
            for turn in range(len(receivers))
            for number, sender in enumerate(senders)
        ]

    @property
    def text(self) -> str:
        """One line about it, for the page."""
        eager = f"every {self.acknowledge_seconds:g} s" if self.acknowledge_seconds else "each frame of entries at once"
        count = self.senders * self.receivers if self.is_crossed else self.senders
        return f"{self.senders} senders, {self.receivers} receivers, {count} conversations, {self.codec}, acknowledged {eager}"


PAIRS: Final = Shape(name="pairs", codec="msgpack", senders=25, receivers=25, is_crossed=False, acknowledge_seconds=0.1)
MESH: Final = Shape(name="mesh", codec="json", senders=10, receivers=50, is_crossed=True, acknowledge_seconds=0)
SHAPES: Final = (PAIRS, MESH)
