"""Who is told that something has come: those whom one has answered there, and friends; nobody across a block.

Such a receipt goes out by itself once a device wakes, so to a stranger it would tell when that is. That something was read a person says, by reading it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_bool, read_uuid


#: What the node said of friends, blocks and settings counts for so long, unless they were changed here.
_KNOWN_MILLISECONDS: Final = 60_000


@dataclass(frozen=True, slots=True)
class ReceiptSettings:
    """The settings, friends and blocks of the account here."""

    delivery_receipts: bool
    read_receipts: bool
    friends: frozenset[UUID]
    blocked: frozenset[UUID]


class ReceiptPolicy:
    """Decides about receipts."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._cached: tuple[int, ReceiptSettings] | None = None

    def invalidate(self) -> None:
        """Ask the node again: a setting, a friend or a block was changed here."""
        self._cached = None

    async def load_settings(self) -> ReceiptSettings:
        """As the node told lately. Raises Refused, Unreachable."""
        if self._cached is None or self._now() - self._cached[0] > _KNOWN_MILLISECONDS:
            said = await self._rest.call("GET", "/account")
            friends = await self._rest.list_all("/friends", "friends")
            blocks = await self._rest.list_all("/blocks", "blocks")
            with self._rest.validated_response():
                settings = said["settings"]
                receipts = read_bool(settings.get("deliveryReceipts", True)), read_bool(settings["readReceipts"])
                people = (frozenset(read_uuid(each["userId"]) for each in some) for some in (friends, blocks))
                self._cached = self._now(), ReceiptSettings(*receipts, *people)
        return self._cached[1]

    def allows_delivery_receipt(self, standing: ReceiptSettings, conversation_id: UUID, person: UUID) -> bool:
        """Whether this person is a friend, or was answered there."""
        return person in standing.friends or self._store.get(kinds.ANSWERED, str(conversation_id)) is not None


def mark_answered(store: Store, conversation_id: UUID) -> None:
    """Something was said there from here, or from another own device."""
    store.put(kinds.ANSWERED, str(conversation_id), b"1")
