"""Finding accounts: by username, by phone number, by id. Accounts that block the caller, or are blocked by it, are not found.

Numbers are hashed under the pepper and not stored. Theory of the cost: every number is charged before the look-up, and every miss four times more
before the response, beyond the quota if necessary. So a look-up is never refused half-way, a refusal does not reveal what was found, and concurrent
requests are charged in full.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.accounts.profile import read_username
from vyry.errors import InvalidRequest, NotFound
from vyry.kernel.ids import UserId
from vyry.kernel.phone_numbers import InvalidPhoneNumber, normalize_number
from vyry.limits import LOOKUP, SEARCH, ChargingLimiter, Grant


#: The cost of a number that finds no account.
LOOKUP_MISS_COST: Final = 5


@dataclass(frozen=True, slots=True)
class Person:
    """The public fields of an account, for accounts that found it."""

    user_id: UserId
    username: str | None
    display_name: str | None
    picture_attachment_id: UUID | None


@dataclass(frozen=True, slots=True)
class PublicProfile:
    """The profile of an account, for friends and members of a shared conversation."""

    person: Person
    bio: str | None
    sealed_profile: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The found numbers and their accounts, in the order of the request."""

    people: Sequence[tuple[PhoneNumber, Person]]
    grant: Grant


class DiscoveryStore(Protocol):
    """Finds accounts, except those that block the asker or are blocked by it."""

    async def find_by_username(self, asker: UserId, username: str) -> Person:
        """The account with this username (in lower case). Raises NotFound."""
        ...

    async def find_by_phone_hashes(self, asker: UserId, hashes: Collection[str]) -> Mapping[str, Person]:
        """The accounts with these number hashes, except those with `discoverableByPhone` off."""
        ...

    async def load_profile(self, viewer: UserId, user_id: UserId) -> PublicProfile:
        """The profile of the viewer, a friend, or a member of a shared conversation. Raises NotFound for all others."""
        ...


class ContactDiscovery:
    """Finds accounts for a caller."""

    def __init__(self, store: DiscoveryStore, pepper: Pepper, limiter: ChargingLimiter) -> None:
        self._store = store
        self._pepper = pepper
        self._limiter = limiter

    async def consume_search_quota(self, caller: Caller) -> Grant:
        """Charge one `find_by_username`; returns the remaining quota. Raises RateLimited."""
        return await self._limiter.consume(SEARCH, str(caller.user_id))

    async def find_by_username(self, caller: Caller, text: str) -> Person:
        """The account with this username, in any case. Raises NotFound, also for an invalid username."""
        try:
            username = read_username(text)
        except InvalidRequest:
            raise NotFound from None
        return await self._store.find_by_username(caller.user_id, username)

    async def find_by_numbers(self, caller: Caller, texts: Sequence[str]) -> LookupResult:
        """The accounts of these numbers; duplicates count once. Raises InvalidRequest, RateLimited."""
        # The hashes under every pepper: an account may be stored under an older one.
        hashes = {number: self._pepper.hide(number).hashes.values() for number in read_numbers(texts)}
        subject = str(caller.user_id)
        grant = await self._limiter.consume(LOOKUP, subject, len(hashes))
        known = await self._store.find_by_phone_hashes(
            caller.user_id, [each for peppered in hashes.values() for each in peppered]
        )
        people = [
            (number, next(known[each] for each in peppered if each in known))
            for number, peppered in hashes.items()
            if not known.keys().isdisjoint(peppered)
        ]
        if misses := len(hashes) - len(people):
            grant = await self._limiter.charge(LOOKUP, subject, misses * (LOOKUP_MISS_COST - 1))
        return LookupResult(people, grant)

    async def load_profile(self, caller: Caller, user_id: UserId) -> PublicProfile:
        """The profile of an account. Raises NotFound unless it is a friend or shares a conversation with the caller."""
        return await self._store.load_profile(caller.user_id, user_id)


def read_numbers(texts: Sequence[str]) -> list[PhoneNumber]:
    """Parse numbers. Raises InvalidRequest, with a field for each invalid one."""
    numbers, wrong = [], []
    for index, text in enumerate(texts):
        try:
            numbers.append(PhoneNumber(normalize_number(text)))
        except InvalidPhoneNumber as problem:
            wrong.append({"field": f"phoneNumbers.{index}", "problem": str(problem)})
    if wrong:
        raise InvalidRequest(fields=wrong)
    return numbers
