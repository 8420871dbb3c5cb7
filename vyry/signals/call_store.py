"""Calls while they ring: one device takes a call, the others stop, and who missed it is told."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from vyry.kernel.ids import DeviceId, UserId


#: After so long nobody will answer any more.
RING_TIMEOUT: Final = timedelta(seconds=60)
#: How long it is known who took a call; whoever comes later than this has no call to take.
CALL_RETENTION: Final = timedelta(minutes=5)
#: Calls that an account may have ringing at once.
MAX_RINGING: Final = 10
#: Who took a call that nobody takes any more. Devices count from 1.
UNANSWERED: Final = DeviceId(0)


@dataclass(frozen=True, slots=True)
class CallKey:
    """A call between two accounts, as the caller named it."""

    call_id: UUID
    caller: UserId
    callee: UserId

    def reversed_key(self) -> "CallKey":
        """The same as if the other one had called."""
        return replace(self, caller=self.callee, callee=self.caller)


@dataclass(frozen=True, slots=True)
class Call:
    """A call: the device it comes from, and the one that took it; None while it rings, NOBODY when it is over unanswered."""

    key: CallKey
    device_id: DeviceId
    answered_by: DeviceId | None = None

    @property
    def is_over(self) -> bool:
        """Whether it ended before anybody took it."""
        return self.answered_by == UNANSWERED


class CallStore(Protocol):
    """The truth about calls that ring."""

    async def start_ringing(self, call: Call, now: datetime) -> None:
        """Let it ring; one that is known stays as it is. Raises RateLimited when the caller has `MOST_RINGING` already."""
        ...

    async def find(self, key: CallKey) -> Call | None:
        """The call as it stands."""
        ...

    async def claim(self, key: CallKey, device_id: DeviceId) -> bool:
        """Claim a call that rings for this device of the callee; of all that try exactly one is told True."""
        ...

    async def end(self, key: CallKey, now: datetime, *, is_missed: bool) -> bool:
        """End a call that rings, and if it is missed have the callee's devices told in the same transaction. False if it did not ring."""
        ...

    async def expire_unanswered(self, now: datetime, limit: int) -> list[Call]:
        """End what has rung for `RINGS_FOR` as missed, with its notices, and answer it."""
        ...

    async def delete_finished(self, now: datetime, limit: int) -> int:
        """Forget what is older than `KNOWN_FOR`; answers how many."""
        ...
