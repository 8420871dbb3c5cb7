"""The ids of accounts, devices, mailboxes and messages, and new ids.

Ids made by the node are UUIDs of version 7 (RFC 9562); a `MailboxKey` is the narrow database key of a mailbox and never leaves the node.
"""

import secrets
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from vyry.kernel.time import now_milliseconds


UserId = NewType("UserId", UUID)
#: 1..127, unique among the live devices of an account.
DeviceId = NewType("DeviceId", int)
MailboxId = NewType("MailboxId", UUID)
MailboxKey = NewType("MailboxKey", int)
MessageId = NewType("MessageId", UUID)
ConversationId = NewType("ConversationId", UUID)

_VERSION_7 = 7 << 76
_VARIANT = 2 << 62
_LOW_62 = (1 << 62) - 1


@dataclass(frozen=True, slots=True, order=True)
class DeviceAddress:
    """One device of one account."""

    user_id: UserId
    device_id: DeviceId

    def __str__(self) -> str:
        return f"{self.user_id}.{self.device_id}"


def new_id(now_ms: int | None = None) -> UUID:
    """A fresh UUID of version 7: 48 bits of milliseconds (the system's clock unless `now_ms` is given), 74 random bits."""
    bits = secrets.randbits(74)
    now_ms = now_milliseconds() if now_ms is None else now_ms
    return UUID(int=_uuid7(now_ms, bits >> 62, bits & _LOW_62))


def parse_uuid(value: object) -> UUID:
    """The id of its canonical text: lower case, with hyphens. Raises ValueError for anything else."""
    found = UUID(value) if isinstance(value, str) else None
    if found is None or str(found) != value:
        raise ValueError(f"{type(value).__name__} is not a canonical UUID")
    return found


def envelope_id(posted_at_ms: int, number: int) -> int:
    """The public id (the 128 bits of a UUID) of the envelope with the row key `number`: computed, so it needs no column."""
    return _uuid7(posted_at_ms, 0, number & _LOW_62)


def _uuid7(milliseconds: int, high: int, low: int) -> int:
    return (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_7 | high << 64 | _VARIANT | low
