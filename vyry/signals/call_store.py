"""Calls while they ring: one device answers a call, the others stop, and a missed call leaves a notice."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.kernel.ids import DeviceId, UserId


#: How long a call rings.
RING_TIMEOUT: Final = timedelta(seconds=60)
#: How long a call is kept, with the device that answered it.
CALL_RETENTION: Final = timedelta(minutes=5)
#: The most calls of one caller that ring at once.
MAX_RINGING: Final = 10
#: `answered_by` of a call that ended unanswered. Devices count from 1.
UNANSWERED: Final = DeviceId(0)


@dataclass(frozen=True, slots=True)
class CallKey:
    """A call between two accounts, as the caller named it."""

    call_id: UUID
    caller: UserId
    callee: UserId

    def reversed_key(self) -> "CallKey":
        """The key with caller and callee exchanged."""
        return replace(self, caller=self.callee, callee=self.caller)


@dataclass(frozen=True, slots=True)
class Call:
    """A call: the calling device, and the one that answered (None while it rings, UNANSWERED when it ended unanswered)."""

    key: CallKey
    device_id: DeviceId
    answered_by: DeviceId | None = None

    @property
    def is_over(self) -> bool:
        """Whether it ended unanswered."""
        return self.answered_by == UNANSWERED


class CallStore(Protocol):
    """The stored calls."""

    async def start_ringing(self, call: Call, now: datetime) -> None:
        """Start a call; one that exists stays as it is. Raises RateLimited when the caller has MAX_RINGING already."""
        ...

    async def find(self, key: CallKey) -> Call | None:
        """The call, or None."""
        ...

    async def claim(self, key: CallKey, device_id: DeviceId) -> bool:
        """Answer a ringing call with this device of the callee; True for exactly one of the devices that try."""
        ...

    async def end(self, key: CallKey, now: datetime, *, is_missed: bool) -> bool:
        """End a ringing call, with a notice for the callee's devices in the same transaction if it is missed. False if it did not ring."""
        ...

    async def expire_unanswered(self, now: datetime, limit: int) -> list[Call]:
        """End calls that rang for RING_TIMEOUT as missed, with their notices, and return them."""
        ...

    async def delete_finished(self, now: datetime, limit: int) -> int:
        """Delete calls older than CALL_RETENTION; returns how many."""
        ...
