"""Which accounts get delivery receipts: friends, and accounts that were answered in the conversation; none across a block.

A delivery receipt is sent as soon as a device is online, so it would show a stranger when that is. Read receipts follow an action of the user.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_bool, read_uuid


#: Ms for which friends, blocks and settings are cached, unless they were changed here.
_CACHE_MILLISECONDS: Final = 60_000


@dataclass(frozen=True, slots=True)
class ReceiptSettings:
    """The receipt settings, friends and blocks of the account."""

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
        """A setting, a friend or a block was changed here: fetch them again."""
        self._cached = None

    async def load_settings(self) -> ReceiptSettings:
        """The settings as the node recently reported them. Raises Refused, Unreachable."""
        if self._cached is None or self._now() - self._cached[0] > _CACHE_MILLISECONDS:
            response = await self._rest.call("GET", "/account")
            friends = await self._rest.list_all("/friends", "friends")
            blocks = await self._rest.list_all("/blocks", "blocks")
            with self._rest.validated_response():
                settings = response["settings"]
                receipts = read_bool(settings.get("deliveryReceipts", True)), read_bool(settings["readReceipts"])
                people = (frozenset(read_uuid(each["userId"]) for each in some) for some in (friends, blocks))
                self._cached = self._now(), ReceiptSettings(*receipts, *people)
        return self._cached[1]

    def allows_delivery_receipt(self, settings: ReceiptSettings, conversation_id: UUID, person: UUID) -> bool:
        """Whether this account is a friend, or was answered there."""
        return person in settings.friends or self._store.get(kinds.ANSWERED, str(conversation_id)) is not None


def mark_answered(store: Store, conversation_id: UUID) -> None:
    """An own device sent a message there."""
    store.put(kinds.ANSWERED, str(conversation_id), b"1")
