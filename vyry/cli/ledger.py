"""What people in a soak run have said and heard: every message once and in order, or it is counted by what went wrong with it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Said:
    """A message as the run made it: the conversation, who wrote it, and its number among theirs there, from 1."""

    chat: UUID
    sender: UUID
    number: int


class Ledger:
    """Counts. `readers` of a conversation are all who have to hear a message in it."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter(
            dict.fromkeys(("doubled", "disordered", "unreadable", "tombstones", "refused", "chainsBroken"), 0)
        )
        self.sent = self.received = 0
        self._numbers: Counter[tuple[UUID, UUID]] = Counter()
        self._readers: dict[UUID, Sequence[UUID]] = {}
        self._heard: dict[tuple[UUID, UUID, UUID], _Ear] = {}
        self._written: dict[Said, float] = {}
        self._delays: list[float] = []

    def write(self, chat: UUID, sender: UUID, readers: Sequence[UUID], now: float) -> Said:
        """The next message of this sender there."""
        self._readers[chat] = readers
        self._numbers[chat, sender] += 1
        said = Said(chat, sender, self._numbers[chat, sender])
        self._written[said] = now
        self.sent += len([reader for reader in readers if reader != sender])
        return said

    def hear(self, reader: UUID, said: Said, now: float) -> None:
        """A reader was given this message."""
        ear = self._heard.setdefault((said.chat, said.sender, reader), _Ear())
        fault = ear.hear(said.number)
        if fault is not None:
            self.faults[fault] += 1
        if fault == "doubled":
            return
        self.received += 1
        if said in self._written:
            self._delays.append(now - self._written[said])

    @property
    def waiting(self) -> int:
        """Copies that nobody has heard yet; when the run is over they are lost."""
        return self.sent - self.received

    def is_clean(self) -> bool:
        """Whether everything was heard, once and in order, and no chain broke."""
        return self.waiting == 0 and not any(self.faults.values())

    def counts(self) -> Mapping[str, Any]:
        """As a report tells them."""
        return {"sent": self.sent, "received": self.received, "waiting": self.waiting, **self.faults}

    def latency(self) -> Mapping[str, float | None]:
        """From `send` to the other's event, in milliseconds."""
        found = sorted(self._delays)
        return {name: _quantile(found, part) for name, part in (("median", 0.5), ("p99", 0.99))}


@dataclass(slots=True)
class _Ear:
    """What one reader heard of one sender in one conversation."""

    last: int = 0
    skipped: set[int] = field(default_factory=set)

    def hear(self, number: int) -> str | None:
        """What is wrong with this number coming now, if anything."""
        if number > self.last:
            self.skipped.update(range(self.last + 1, number))
            self.last = number
            return None
        if number in self.skipped:
            self.skipped.discard(number)
            return "disordered"
        return "doubled"


def _quantile(rising: Sequence[float], part: float) -> float | None:
    return round(rising[math.ceil(part * len(rising)) - 1] * 1000, 1) if rising else None
