"""What happens to the security of an account, as its owner can read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

from vyry.kernel.ids import UserId


#: How long the owner can read of it.
KEEP_EVENTS: Final = timedelta(days=180)
#: Every event there is (docs/protocol.md, "Account events").
EventName: TypeAlias = Literal[
    "signedUp",
    "registrationLocked",
    "tokenReused",
    "deviceLinked",
    "deviceIdle",
    "deviceEnded",
    "pinSet",
    "pinChanged",
    "pinRemoved",
    "pinReset",
    "pinWrong",
    "pinLocked",
    "exported",
    "suspended",
    "resumed",
    "numberShown",
]


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """One line. `detail` holds names and numbers of the wire, never a secret or an address in full; `device_id` did it, or it was done to it."""

    account_id: UUID
    name: EventName
    at: datetime
    device_id: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, newest first. `next_before` is where the next page begins; None at the end."""

    events: Sequence[AccountEvent]
    next_before: int | None


class AccountEvents(Protocol):
    """What happened, for the owner. Raises `Unavailable` when the database is away."""

    async def page(self, user_id: UserId, limit: int, before: int | None) -> EventPage:
        """At most so many events, newest first; with `before`, those behind that place."""
        ...
