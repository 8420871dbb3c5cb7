"""Security events of an account, which its owner can read, and actions of operators, which the audit log records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

from vyry.kernel.ids import UserId


#: How long an event is kept.
KEEP_EVENTS: Final = timedelta(days=180)
#: Every event there is (docs/protocol.md, "Account events").
EventName: TypeAlias = Literal[
    "signedUp",
    "registrationLocked",
    "recovered",
    "recoveryCodeChanged",
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
    """One event. `detail` has names and values of the wire, never a secret or a whole address; `device_id` is the device that acted or was acted on."""

    account_id: UUID
    name: EventName
    at: datetime
    device_id: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, newest first. `next_before` is the cursor of the next page; None on the last one."""

    events: Sequence[AccountEvent]
    next_before: int | None


class AccountEvents(Protocol):
    """Reads events. Raises `Unavailable` while the database is down."""

    async def page(self, user_id: UserId, limit: int, before: int | None) -> EventPage:
        """At most `limit` events, newest first, from the cursor `before` on."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One action and its reason. `subject` is the account concerned; None is the whole node."""

    at: datetime
    operator: str
    action: str
    reason: str
    subject: UUID | None = None
