"""Room: how much of what a mailbox may hold one sender can take, so that nobody shuts out the others (docs/protocol.md, "Room").

Theory: a lane that is nearly empty, as that of every device in use, takes everything, and nothing is counted by sender. Beyond that each envelope
counts for the account that posted it, and an account may hold no more than what is free. So a single one gets half of a lane, n of them together n parts
of n + 1, and a sender of whom nothing waits finds room whatever the others do. All strangers together count as one sender, with a small limit besides.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from vyry.ids import MailboxKey
from vyry.mail.envelope import Lane


#: A lane is nearly empty while it holds less than a 16th of its limit; strangers together hold no more than another 16th.
PART: Final = 16
#: In whose name everything counts that strangers post; no account has this id.
STRANGERS: Final = UUID(int=0)


class Held(NamedTuple):
    """So many entries of so many bytes."""

    entries: int = 0
    size: int = 0

    @property
    def part(self) -> "Held":
        """A small part of this limit."""
        return Held(self.entries // PART, self.size // PART)


NOTHING: Final = Held()


class Place(NamedTuple):
    """Where a copy asks for room, and in whose name (see `Message.account` and `Message.is_near`)."""

    mailbox: MailboxKey
    lane: Lane
    account: UUID | None
    is_near: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What a lane of a mailbox holds, and how much of it counts for `share`: a sender, STRANGERS, or None if only the limit of the lane holds."""

    lane: Held
    share: UUID | None = None
    held: Held = NOTHING

    def is_quiet(self, limit: Held, size: int) -> bool:
        """Whether the lane is nearly empty, also with one more entry of this size: then nothing is counted by sender."""
        return self.lane.entries < limit.part.entries and self.lane.size + size <= limit.part.size

    def counted(self, limit: Held, size: int) -> UUID | None:
        """For whom such an entry counts."""
        return None if self.is_quiet(limit, size) else self.share

    def fits(self, limit: Held, size: int) -> bool:
        """Whether one more entry of this size finds room."""
        if self.is_quiet(limit, size):
            return True
        free = Held(limit.entries - self.lane.entries, limit.size - self.lane.size)
        if self.share == STRANGERS:
            free = Held(min(free.entries, limit.part.entries), min(free.size, limit.part.size))
        # What the node says and what one's own devices tell each other counts for nobody: `held` is nothing.
        return self.held.entries < free.entries and self.held.size + size <= free.size
