"""Finding people: by username, by telephone number, by id. Who blocks the one who asks, or is blocked, is not there.

Numbers are hashed under the pepper and forgotten. Theory of what a look-up costs: each number is paid for before anybody looks, and each miss four times
more before anything is answered, into debt if need be. So no answer is refused half-way, no refusal tells what was found, and what is asked side by side
is paid for all the same.
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


#: What a number costs that nobody can be found by.
LOOKUP_MISS_COST: Final = 5


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as those who found them see them."""

    user_id: UserId
    username: str | None
    display_name: str | None
    picture_attachment_id: UUID | None


@dataclass(frozen=True, slots=True)
class PublicProfile:
    """Somebody as friends and members of a shared conversation see them."""

    person: Person
    bio: str | None
    sealed_profile: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookupResult:
    """Those of the numbers asked for that somebody can be found by, in the order they were asked in."""

    people: Sequence[tuple[PhoneNumber, Person]]
    grant: Grant


class DiscoveryStore(Protocol):
    """Where people are found. To `asker` nobody is there who blocks them, or whom they block."""

    async def find_by_username(self, asker: UserId, username: str) -> Person:
        """Who has this username (in lower case). Raises NotFound."""
        ...

    async def find_by_phone_hashes(self, asker: UserId, hashes: Collection[str]) -> Mapping[str, Person]:
        """Who can be found by these hashes of numbers: those who have not forbidden it."""
        ...

    async def load_profile(self, viewer: UserId, user_id: UserId) -> PublicProfile:
        """Oneself, a friend, or a member of a shared conversation. Raises NotFound for everybody else."""
        ...


class ContactDiscovery:
    """Finds people for a caller."""

    def __init__(self, store: DiscoveryStore, pepper: Pepper, limiter: ChargingLimiter) -> None:
        self._store = store
        self._pepper = pepper
        self._limiter = limiter

    async def consume_search_quota(self, caller: Caller) -> Grant:
        """Pay for one `by_username`; answers what the limit leaves. Raises RateLimited."""
        return await self._limiter.consume(SEARCH, str(caller.user_id))

    async def find_by_username(self, caller: Caller, text: str) -> Person:
        """Who has this username, however it is written. Raises NotFound."""
        try:
            username = read_username(text)
        except InvalidRequest:
            raise NotFound from None
        return await self._store.find_by_username(caller.user_id, username)

    async def find_by_numbers(self, caller: Caller, texts: Sequence[str]) -> LookupResult:
        """Who can be found by these numbers; a number given twice is one. Raises InvalidRequest, RateLimited."""
        # Whatever pepper an account was made under, it is found; nothing of a number is kept.
        hashes = {number: self._pepper.hide(number).hashes.values() for number in read_numbers(texts)}
        subject = str(caller.user_id)
        grant = await self._limiter.consume(LOOKUP, subject, len(hashes))
        known = await self._store.find_by_phone_hashes(
            caller.user_id, [each for ring in hashes.values() for each in ring]
        )
        people = [
            (number, next(known[each] for each in ring if each in known))
            for number, ring in hashes.items()
            if not known.keys().isdisjoint(ring)
        ]
        if misses := len(hashes) - len(people):
            grant = await self._limiter.charge(LOOKUP, subject, misses * (LOOKUP_MISS_COST - 1))
        return LookupResult(people, grant)

    async def load_profile(self, caller: Caller, user_id: UserId) -> PublicProfile:
        """The public profile of somebody within reach. Raises NotFound."""
        return await self._store.load_profile(caller.user_id, user_id)


def read_numbers(texts: Sequence[str]) -> list[PhoneNumber]:
    """The numbers that these texts name. Raises InvalidRequest, with each that names none."""
    numbers, wrong = [], []
    for place, text in enumerate(texts):
        try:
            numbers.append(PhoneNumber(normalize_number(text)))
        except InvalidPhoneNumber as problem:
            wrong.append({"field": f"phoneNumbers.{place}", "problem": str(problem)})
    if wrong:
        raise InvalidRequest(fields=wrong)
    return numbers
