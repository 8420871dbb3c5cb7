"""Capacity: how much of a mailbox one sender can use, so that no sender fills it for the others (docs/protocol.md).

Theory: a lane that is nearly empty, as that of every device in use, accepts everything and counts nothing by sender. Above that each envelope counts for
the account that posted it, and an account may use no more than what is free. So one sender gets half of a lane, n senders together n parts of n + 1, and a
sender without a waiting envelope always has capacity. All strangers together count as one sender, with a small cap of their own.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Lane


#: A lane is nearly empty below a 16th of its cap; all strangers together use at most another 16th.
FRACTION: Final = 16
#: The quota owner of all posts by strangers; no account has this id.
STRANGERS_OWNER: Final = UUID(int=0)


class Usage(NamedTuple):
    """A number of entries and bytes."""

    entries: int = 0
    size: int = 0

    @property
    def small_part(self) -> "Usage":
        """A 16th of this cap."""
        return Usage(self.entries // FRACTION, self.size // FRACTION)


NO_USAGE: Final = Usage()


class CapacityRequest(NamedTuple):
    """A copy that needs capacity (see `Message.quota_owner` and `Message.is_from_acquaintance`)."""

    mailbox: MailboxKey
    lane: Lane
    quota_owner: UUID | None
    is_from_acquaintance: bool


@dataclass(frozen=True, slots=True)
class LaneCapacity:
    """The usage of a lane, and the part that counts for `quota_owner`: an account, STRANGERS_OWNER, or None if only the cap of the lane applies."""

    lane_usage: Usage
    quota_owner: UUID | None = None
    owner_usage: Usage = NO_USAGE

    def is_nearly_empty(self, limit: Usage, size: int) -> bool:
        """Whether the lane is nearly empty, also with one more entry of this size: then nothing counts by sender."""
        return (
            self.lane_usage.entries < limit.small_part.entries and self.lane_usage.size + size <= limit.small_part.size
        )

    def counted_owner(self, limit: Usage, size: int) -> UUID | None:
        """The quota owner that such an entry counts for."""
        return None if self.is_nearly_empty(limit, size) else self.quota_owner

    def fits(self, limit: Usage, size: int) -> bool:
        """Whether there is capacity for one more entry of this size."""
        if self.is_nearly_empty(limit, size):
            return True
        free = Usage(limit.entries - self.lane_usage.entries, limit.size - self.lane_usage.size)
        if self.quota_owner == STRANGERS_OWNER:
            free = Usage(min(free.entries, limit.small_part.entries), min(free.size, limit.small_part.size))
        # Notices of the node and posts between own devices have no quota owner: their usage is zero.
        return self.owner_usage.entries < free.entries and self.owner_usage.size + size <= free.size
