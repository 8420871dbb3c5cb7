"""People to be found, in dictionaries: what tests use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vyry.adapters.memory_ties import Ties
from vyry.circles.people import Person, PublicProfile
from vyry.errors import NotFound
from vyry.ids import UserId


@dataclass(slots=True)
class MemoryFinder:
    """PeopleStore. `numbers` are the hashes by which people let themselves be found."""

    profiles: dict[UserId, PublicProfile] = field(default_factory=dict)
    numbers: dict[str, UserId] = field(default_factory=dict)
    ties: Ties = field(default_factory=Ties)

    async def by_username(self, asker: UserId, username: str) -> Person:
        found = (each.person for each in self.profiles.values() if each.person.username == username)
        person = next((each for each in found if not self.ties.is_barred(asker, each.user_id)), None)
        if person is None:
            raise NotFound
        return person

    async def by_numbers(self, asker: UserId, hashes: Collection[str]) -> Mapping[str, Person]:
        known = {each: self.numbers[each] for each in hashes if each in self.numbers}
        there = {each: user for each, user in known.items() if not self.ties.is_barred(asker, user)}
        return {each: self.profiles[user].person for each, user in there.items()}

    async def profile(self, viewer: UserId, user_id: UserId) -> PublicProfile:
        is_tied = (viewer, user_id) in self.ties.friends or frozenset({viewer, user_id}) in self.ties.pairs
        is_near = is_tied or viewer == user_id
        if user_id not in self.profiles or not is_near or self.ties.is_barred(viewer, user_id):
            raise NotFound
        return self.profiles[user_id]
