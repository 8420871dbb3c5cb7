"""What people in a soak run have said and heard: every message once and in order, or it is counted by what went wrong with it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message as the run made it: the conversation, who wrote it, and its number among theirs there, from 1."""

    chat: UUID
    sender: UUID
    number: int


class DeliveryStats:
    """Counts. `readers` of a conversation are all who have to hear a message in it."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter(
            dict.fromkeys(("doubled", "disordered", "unreadable", "tombstones", "refused", "chainsBroken"), 0)
        )
        self.sent = self.received = 0
        self._last_numbers: Counter[tuple[UUID, UUID]] = Counter()
        self._recipients: dict[UUID, Sequence[UUID]] = {}
        self._receivers: dict[tuple[UUID, UUID, UUID], _ReceiverState] = {}
        self._sent_at: dict[SentMessage, float] = {}
        self._delays: list[float] = []

    def record_sent(self, chat: UUID, sender: UUID, recipients: Sequence[UUID], now: float) -> SentMessage:
        """The next message of this sender there."""
        self._recipients[chat] = recipients
        self._last_numbers[chat, sender] += 1
        said = SentMessage(chat, sender, self._last_numbers[chat, sender])
        self._sent_at[said] = now
        self.sent += len([reader for reader in recipients if reader != sender])
        return said

    def record_received(self, recipient: UUID, message: SentMessage, now: float) -> None:
        """A reader was given this message."""
        ear = self._receivers.setdefault((message.chat, message.sender, recipient), _ReceiverState())
        fault = ear.record(message.number)
        if fault is not None:
            self.faults[fault] += 1
        if fault == "doubled":
            return
        self.received += 1
        if message in self._sent_at:
            self._delays.append(now - self._sent_at[message])

    @property
    def missing_count(self) -> int:
        """Copies that nobody has heard yet; when the run is over they are lost."""
        return self.sent - self.received

    def is_clean(self) -> bool:
        """Whether everything was heard, once and in order, and no chain broke."""
        return self.missing_count == 0 and not any(self.faults.values())

    def counts(self) -> Mapping[str, Any]:
        """As a report tells them."""
        return {"sent": self.sent, "received": self.received, "waiting": self.missing_count, **self.faults}

    def latency(self) -> Mapping[str, float | None]:
        """From `send` to the other's event, in milliseconds."""
        found = sorted(self._delays)
        return {name: _quantile(found, part) for name, part in (("median", 0.5), ("p99", 0.99))}


@dataclass(slots=True)
class _ReceiverState:
    """What one reader heard of one sender in one conversation."""

    last_number: int = 0
    missing_numbers: set[int] = field(default_factory=set)

    def record(self, number: int) -> str | None:
        """What is wrong with this number coming now, if anything."""
        if number > self.last_number:
            self.missing_numbers.update(range(self.last_number + 1, number))
            self.last_number = number
            return None
        if number in self.missing_numbers:
            self.missing_numbers.discard(number)
            return "disordered"
        return "doubled"


def _quantile(rising: Sequence[float], part: float) -> float | None:
    return round(rising[math.ceil(part * len(rising)) - 1] * 1000, 1) if rising else None
