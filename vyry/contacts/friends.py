"""Friends: an account sends a request, the other accepts it. Two accounts that request each other are friends at once.

Concurrent requests, acceptances and blocks are serialised: a friendship always has both sides or none, and no request remains beside it.
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


#: The most friends of an account, and the most open requests, incoming and outgoing each.
MAX_FRIENDS: Final = 5_000
MAX_REQUESTS: Final = 1_000
#: The error text when the setting `messagesFrom` of an account is `friends`.
FRIENDS_ONLY: Final = "This account accepts messages from friends only."


class RequestDirection(Enum):
    """The direction of a request, seen from the account that lists it."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


@dataclass(frozen=True, slots=True)
class Friend:
    """A friend, with the start of the friendship."""

    person: Person
    since: datetime


@dataclass(frozen=True, slots=True)
class FriendRequest:
    """An open request. `person` is the sender of an incoming one; an outgoing one reveals no more than the `user_id` that the caller knew."""

    user_id: UserId
    person: Person | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FriendPage:
    """A page of friends, ordered by id; `next_cursor` is None on the last page."""

    friends: Sequence[Friend]
    next_cursor: UserId | None


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A page of requests, ordered by the id of the other account; `next_cursor` is None on the last page."""

    requests: Sequence[FriendRequest]
    next_cursor: UserId | None


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The outcome of a request, and the remaining quotas."""

    are_friends: bool
    grants: Sequence[tuple[str, Grant]] = ()


class FriendStore(Protocol):
    """Stores friendships and requests. Changes between the same two accounts are serialised."""

    async def is_new_contact(self, asker: UserId, other: UserId) -> bool:
        """Whether the two have no friendship, no direct conversation and no request in either direction.

        Raises NotFound when there is no account `other`, or one blocks the other.
        """
        ...

    async def send_request(self, asker: UserId, other: UserId, now: datetime) -> bool:
        """Save a request; True if they are friends now, because the other account has sent one or they were friends. A second request changes nothing.

        Raises NotFound as `is_new_contact`, Forbidden if the asker has too many requests or one of the two too many friends.
        """
        ...

    async def accept(self, user: UserId, asker: UserId, now: datetime) -> None:
        """Accept the request of `asker`; changes nothing if they are friends. Raises NotFound (no request), Forbidden (too many friends)."""
        ...

    async def delete_request(self, asker: UserId, other: UserId) -> None:
        """Delete a request. Raises NotFound."""
        ...

    async def remove(self, user: UserId, friend: UserId) -> None:
        """End a friendship on both sides. Raises NotFound."""
        ...

    async def list_friends(self, user: UserId, limit: int, after: UserId | None) -> FriendPage:
        """At most `limit` friends with ids after `after`."""
        ...

    async def list_requests(
        self, user: UserId, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        """At most `limit` requests, of accounts with ids after `after`."""
        ...


class Friends:
    """Manages friends and friend requests."""

    def __init__(self, store: FriendStore, limiter: Limiter, clock: Clock, listener: AccountListener) -> None:
        self._store = store
        self._limiter = limiter
        self._clock = clock
        self._listener = listener

    async def send_request(self, caller: Caller, other: UserId) -> RequestOutcome:
        """Send a request, or become friends if the other account has sent one. A request to a new contact counts against NEW_CONTACTS.

        Raises InvalidRequest (the own account), NotFound, RateLimited, Forbidden (too many requests or friends).
        """
        if other == caller.user_id:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "is your own account"}])
        grants = []
        if await self._store.is_new_contact(caller.user_id, other):
            grants.append((NEW_CONTACTS.name, await self._limiter.consume(NEW_CONTACTS, str(caller.user_id))))
        are_friends = await self._store.send_request(caller.user_id, other, self._clock.now())
        if are_friends:
            await self._listener.accounts_changed({caller.user_id, other})
        return RequestOutcome(are_friends, grants)

    async def accept(self, caller: Caller, asker: UserId) -> None:
        """Accept a request. Raises NotFound, Forbidden (too many friends)."""
        await self._store.accept(caller.user_id, asker, self._clock.now())
        await self._listener.accounts_changed({caller.user_id, asker})

    async def decline(self, caller: Caller, asker: UserId) -> None:
        """Decline an incoming request. Raises NotFound."""
        await self._store.delete_request(asker, caller.user_id)

    async def cancel(self, caller: Caller, other: UserId) -> None:
        """Cancel an outgoing request. Raises NotFound."""
        await self._store.delete_request(caller.user_id, other)

    async def remove(self, caller: Caller, friend: UserId) -> None:
        """End a friendship on both sides. Raises NotFound."""
        await self._store.remove(caller.user_id, friend)
        await self._listener.accounts_changed({caller.user_id, friend})

    async def list_friends(self, caller: Caller, limit: int, after: UserId | None) -> FriendPage:
        """The caller's friends."""
        return await self._store.list_friends(caller.user_id, limit, after)

    async def list_requests(
        self, caller: Caller, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        """The incoming or outgoing requests of the caller."""
        return await self._store.list_requests(caller.user_id, direction, limit, after)
