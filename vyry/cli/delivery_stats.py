"""Counts the messages of a soak test: each one has to be delivered once and in order, everything else is counted as a fault."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of the run: its conversation, its sender, and its number among the messages of that sender there, from 1."""

    chat: UUID
    sender: UUID
    number: int


class DeliveryStats:
    """The counts of a run. The recipients of a conversation are all users who have to receive its messages."""

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
        """Count the next message of this sender and return it."""
        self._recipients[chat] = recipients
        self._last_numbers[chat, sender] += 1
        message = SentMessage(chat, sender, self._last_numbers[chat, sender])
        self._sent_at[message] = now
        self.sent += len([reader for reader in recipients if reader != sender])
        return message

    def record_received(self, recipient: UUID, message: SentMessage, now: float) -> None:
        """Count a message that a recipient received."""
        state = self._receivers.setdefault((message.chat, message.sender, recipient), _ReceiverState())
        fault = state.record(message.number)
        if fault is not None:
            self.faults[fault] += 1
        if fault == "doubled":
            return
        self.received += 1
        if message in self._sent_at:
            self._delays.append(now - self._sent_at[message])

    @property
    def missing_count(self) -> int:
        """Copies that were not received yet; at the end of the run they are lost."""
        return self.sent - self.received

    def is_clean(self) -> bool:
        """Whether everything was received, once and in order, and no hash chain broke."""
        return self.missing_count == 0 and not any(self.faults.values())

    def counts(self) -> Mapping[str, Any]:
        """The counts for a report."""
        return {"sent": self.sent, "received": self.received, "waiting": self.missing_count, **self.faults}

    def latency(self) -> Mapping[str, float | None]:
        """From `send` to the event at the recipient, in milliseconds."""
        found = sorted(self._delays)
        return {name: _quantile(found, part) for name, part in (("median", 0.5), ("p99", 0.99))}


@dataclass(slots=True)
class _ReceiverState:
    """What one recipient received from one sender in one conversation."""

    last_number: int = 0
    missing_numbers: set[int] = field(default_factory=set)

    def record(self, number: int) -> str | None:
        """The fault of receiving this number now, or None."""
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
