"""Fake of the contact search, in dictionaries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tests.fakes.relationships import Relationships
from vyry.contacts.discovery import Person, PublicProfile
from vyry.errors import NotFound
from vyry.kernel.ids import UserId


@dataclass(slots=True)
class MemoryDiscovery:
    """PeopleStore. `numbers` are the hashes by which people let themselves be found."""

    profiles: dict[UserId, PublicProfile] = field(default_factory=dict)
    numbers: dict[str, UserId] = field(default_factory=dict)
    ties: Relationships = field(default_factory=Relationships)

    async def find_by_username(self, asker: UserId, username: str) -> Person:
        found = (each.person for each in self.profiles.values() if each.person.username == username)
        person = next((each for each in found if not self.ties.is_blocked(asker, each.user_id)), None)
        if person is None:
            raise NotFound
        return person

    async def find_by_phone_hashes(self, asker: UserId, hashes: Collection[str]) -> Mapping[str, Person]:
        known = {each: self.numbers[each] for each in hashes if each in self.numbers}
        there = {each: user for each, user in known.items() if not self.ties.is_blocked(asker, user)}
        return {each: self.profiles[user].person for each, user in there.items()}

    async def load_profile(self, viewer: UserId, user_id: UserId) -> PublicProfile:
        is_tied = (viewer, user_id) in self.ties.friends or frozenset(
            {viewer, user_id}
        ) in self.ties.direct_conversations
        is_near = is_tied or viewer == user_id
        if user_id not in self.profiles or not is_near or self.ties.is_blocked(viewer, user_id):
            raise NotFound
        return self.profiles[user_id]
