"""Who is told that something has come: those whom one has answered there, and friends; nobody across a block.

Such a receipt goes out by itself once a device wakes, so to a stranger it would tell when that is. That something was read a person says, by reading it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.rest import Rest
from vyry.client.shapes import flag, identifier
from vyry.client.store import Store


_WRITTEN: Final = "written in"
#: What the node said of friends, blocks and settings counts for so long, unless they were changed here.
_KNOWN_MILLISECONDS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Standing:
    """The settings, friends and blocks of the account here."""

    delivery_receipts: bool
    read_receipts: bool
    friends: frozenset[UUID]
    blocked: frozenset[UUID]


class Acquaintances:
    """Decides about receipts."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._known: tuple[int, Standing] | None = None

    def forget(self) -> None:
        """Ask the node again: a setting, a friend or a block was changed here."""
        self._known = None

    async def standing(self) -> Standing:
        """As the node told lately. Raises Refused, Unreachable."""
        if self._known is None or self._now() - self._known[0] > _KNOWN_MILLISECONDS:
            said = await self._rest.call("GET", "/account")
            friends = await self._rest.pages("/friends", "friends")
            blocks = await self._rest.pages("/blocks", "blocks")
            with self._rest.shaped():
                settings = said["settings"]
                receipts = flag(settings.get("deliveryReceipts", True)), flag(settings["readReceipts"])
                people = (frozenset(identifier(each["userId"]) for each in some) for some in (friends, blocks))
                self._known = self._now(), Standing(*receipts, *people)
        return self._known[1]

    def knows(self, standing: Standing, conversation_id: UUID, person: UUID) -> bool:
        """Whether this person is a friend, or was answered there."""
        return person in standing.friends or self._store.get(_WRITTEN, str(conversation_id)) is not None


def note_written(store: Store, conversation_id: UUID) -> None:
    """Something was said there from here, or from another own device."""
    store.put(_WRITTEN, str(conversation_id), b"1")
