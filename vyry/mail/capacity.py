"""Room: how much of what a mailbox may hold one sender can take, so that nobody shuts out the others (docs/protocol.md, "Room").

Theory: a lane that is nearly empty, as that of every device in use, takes everything, and nothing is counted by sender. Beyond that each envelope
counts for the account that posted it, and an account may hold no more than what is free. So a single one gets half of a lane, n of them together n parts
of n + 1, and a sender of whom nothing waits finds room whatever the others do. All strangers together count as one sender, with a small limit besides.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Lane


#: A lane is nearly empty while it holds less than a 16th of its limit; strangers together hold no more than another 16th.
FRACTION: Final = 16
#: In whose name everything counts that strangers post; no account has this id.
STRANGERS_OWNER: Final = UUID(int=0)


class Usage(NamedTuple):
    """So many entries of so many bytes."""

    entries: int = 0
    size: int = 0

    @property
    def small_part(self) -> "Usage":
        """A small part of this limit."""
        return Usage(self.entries // FRACTION, self.size // FRACTION)


NO_USAGE: Final = Usage()


class CapacityRequest(NamedTuple):
    """Where a copy asks for room, and in whose name (see `Message.account` and `Message.is_near`)."""

    mailbox: MailboxKey
    lane: Lane
    quota_owner: UUID | None
    is_from_acquaintance: bool


@dataclass(frozen=True, slots=True)
class LaneCapacity:
    """What a lane of a mailbox holds, and how much of it counts for `share`: a sender, STRANGERS, or None if only the limit of the lane holds."""

    lane_usage: Usage
    quota_owner: UUID | None = None
    owner_usage: Usage = NO_USAGE

    def is_nearly_empty(self, limit: Usage, size: int) -> bool:
        """Whether the lane is nearly empty, also with one more entry of this size: then nothing is counted by sender."""
        return (
            self.lane_usage.entries < limit.small_part.entries and self.lane_usage.size + size <= limit.small_part.size
        )

    def counted_owner(self, limit: Usage, size: int) -> UUID | None:
        """For whom such an entry counts."""
        return None if self.is_nearly_empty(limit, size) else self.quota_owner

    def fits(self, limit: Usage, size: int) -> bool:
        """Whether one more entry of this size finds room."""
        if self.is_nearly_empty(limit, size):
            return True
        free = Usage(limit.entries - self.lane_usage.entries, limit.size - self.lane_usage.size)
        if self.quota_owner == STRANGERS_OWNER:
            free = Usage(min(free.entries, limit.small_part.entries), min(free.size, limit.small_part.size))
        # What the node says and what one's own devices tell each other counts for nobody: `held` is nothing.
        return self.owner_usage.entries < free.entries and self.owner_usage.size + size <= free.size
