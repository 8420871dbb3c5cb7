"""Who is whose friend, who asks, and who blocks whom, in dictionaries: what tests use."""

from dataclasses import dataclass, field
from datetime import datetime

from vyry.ids import UserId


Pair = tuple[UserId, UserId]


@dataclass(slots=True)
class Ties:
    """What ties people, for the stores that share it."""

    #: Both sides of each friendship.
    friends: dict[Pair, datetime] = field(default_factory=dict)
    #: Who asks, whom.
    requests: dict[Pair, datetime] = field(default_factory=dict)
    #: Who blocks, whom.
    blocks: dict[Pair, datetime] = field(default_factory=dict)
    #: Whose `messagesFrom` is friends.
    reserved: set[UserId] = field(default_factory=set)

    def is_barred(self, one: UserId, other: UserId) -> bool:
        """Whether either blocks the other."""
        return (one, other) in self.blocks or (other, one) in self.blocks
