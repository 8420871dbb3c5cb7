"""What happens to the security of an account, as its owner can read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID


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
