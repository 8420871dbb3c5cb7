"""Friends: one asks, the other accepts; two who ask each other are friends at once.

Of any number of requests, answers and blocks at once each happens before or after the others: a friendship has two sides or none, and no request is left
beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from vyry.accounts.account import AccountListener, Caller
from vyry.clock import Clock
from vyry.contacts.discovery import Person
from vyry.errors import InvalidRequest
from vyry.kernel.ids import UserId
from vyry.limits import NEW_CONTACTS, Grant, Limiter


#: So many friends somebody can have, and so many requests that wait, of their own and to them each.
MAX_FRIENDS: Final = 5_000
MAX_REQUESTS: Final = 1_000
#: Why a conversation is not opened with somebody whose `messagesFrom` is friends.
FRIENDS_ONLY: Final = "This person hears from friends only."


class RequestDirection(Enum):
    """Which requests."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


@dataclass(frozen=True, slots=True)
class Friend:
    """A friend, and since when."""

    person: Person
    since: datetime


@dataclass(frozen=True, slots=True)
class FriendRequest:
    """A request that waits. `person` is who asks; of somebody who is asked the asker learns nothing but what they know: `user_id`."""

    user_id: UserId
    person: Person | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FriendPage:
    """A part of somebody's friends, by rising id; `next_cursor` is None at the end."""

    friends: Sequence[Friend]
    next_cursor: UserId | None


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A part of the requests, by rising id of the other; `next_cursor` is None at the end."""

    requests: Sequence[FriendRequest]
    next_cursor: UserId | None


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What came of asking, and what the limits leave."""

    are_friends: bool
    grants: Sequence[tuple[str, Grant]] = ()


class FriendStore(Protocol):
    """Where friendships and requests are kept. Everything between two people happens one after the other."""

    async def is_new_contact(self, asker: UserId, other: UserId) -> bool:
        """Whether the two have no friendship, no direct conversation and no request in either direction.

        Raises NotFound when there is no account `other`, or one blocks the other.
        """
        ...

    async def send_request(self, asker: UserId, other: UserId, now: datetime) -> bool:
        """Note the request; if the other has asked too, or they are friends, they are friends: True. Asking again changes nothing.

        Raises NotFound as `is_new_contact`, Forbidden where one of the two has as many requests or friends as one can have.
        """
        ...

    async def accept(self, user: UserId, asker: UserId, now: datetime) -> None:
        """Make them friends, for the request of `asker`; nothing changes if they are. Raises NotFound (nobody asked), Forbidden (too many friends)."""
        ...

    async def delete_request(self, asker: UserId, other: UserId) -> None:
        """Forget a request. Raises NotFound."""
        ...

    async def remove(self, user: UserId, friend: UserId) -> None:
        """End a friendship, for both. Raises NotFound."""
        ...

    async def list_friends(self, user: UserId, limit: int, after: UserId | None) -> FriendPage:
        """The friends whose ids lie beyond `after`."""
        ...

    async def list_requests(
        self, user: UserId, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        """The requests with those whose ids lie beyond `after`."""
        ...


class Friends:
    """What a person may do about friends."""

    def __init__(self, store: FriendStore, limiter: Limiter, clock: Clock, listener: AccountListener) -> None:
        self._store = store
        self._limiter = limiter
        self._clock = clock
        self._listener = listener

    async def send_request(self, caller: Caller, other: UserId) -> RequestOutcome:
        """Ask somebody, or become friends at once if they have asked. Only asking a stranger counts as a new contact.

        Raises InvalidRequest (oneself), NotFound, RateLimited, Forbidden (too many requests or friends).
        """
        if other == caller.user_id:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "this is yourself"}])
        grants = []
        if await self._store.is_new_contact(caller.user_id, other):
            grants.append((NEW_CONTACTS.name, await self._limiter.consume(NEW_CONTACTS, str(caller.user_id))))
        are_friends = await self._store.send_request(caller.user_id, other, self._clock.now())
        if are_friends:
            await self._listener.accounts_changed({caller.user_id, other})
        return RequestOutcome(are_friends, grants)

    async def accept(self, caller: Caller, asker: UserId) -> None:
        """Become the friend of somebody who asked. Raises NotFound, Forbidden (too many friends)."""
        await self._store.accept(caller.user_id, asker, self._clock.now())
        await self._listener.accounts_changed({caller.user_id, asker})

    async def decline(self, caller: Caller, asker: UserId) -> None:
        """Forget that somebody asked. Raises NotFound."""
        await self._store.delete_request(asker, caller.user_id)

    async def cancel(self, caller: Caller, other: UserId) -> None:
        """Take a request back. Raises NotFound."""
        await self._store.delete_request(caller.user_id, other)

    async def remove(self, caller: Caller, friend: UserId) -> None:
        """End a friendship, for both. Raises NotFound."""
        await self._store.remove(caller.user_id, friend)
        await self._listener.accounts_changed({caller.user_id, friend})

    async def list_friends(self, caller: Caller, limit: int, after: UserId | None) -> FriendPage:
        """The caller's friends."""
        return await self._store.list_friends(caller.user_id, limit, after)

    async def list_requests(
        self, caller: Caller, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        """Who asks the caller, or whom the caller asks."""
        return await self._store.list_requests(caller.user_id, direction, limit, after)
