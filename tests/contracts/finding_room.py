"""Where people are found: over memory, and over each database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tests.contracts.key_room import NOON
from vyry.adapters.blocks import TortoiseBlocks
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.database import open_database
from vyry.adapters.friends import TortoiseFriends
from vyry.adapters.memory_people import MemoryFinder
from vyry.adapters.people import TortoisePeople
from vyry.adapters.rows import AccountRow
from vyry.circles.people import PeopleStore, Person, PublicProfile
from vyry.ids import ConversationId, UserId, new_id


class FindingRoom(Protocol):
    """A store, and people in it."""

    store: PeopleStore

    async def person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        """Somebody with this username, whose number has the hash `#name`."""

    async def block(self, owner: UserId, other: UserId) -> None: ...

    async def befriend(self, one: UserId, other: UserId) -> None: ...

    async def talk(self, one: UserId, other: UserId) -> None: ...


class MemoryRoom:
    def __init__(self) -> None:
        self._finder = MemoryFinder()
        self.store: PeopleStore = self._finder

    async def person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        user = UserId(new_id())
        self._finder.profiles[user] = PublicProfile(Person(user, name, None, None), "bio", b"sealed")
        if (settings or {}).get("discoverableByPhone", True):
            self._finder.numbers[f"#{name}"] = user
        return user

    async def block(self, owner: UserId, other: UserId) -> None:
        self._finder.ties.blocks[owner, other] = NOON

    async def befriend(self, one: UserId, other: UserId) -> None:
        self._finder.ties.friends |= {(one, other): NOON, (other, one): NOON}

    async def talk(self, one: UserId, other: UserId) -> None:
        self._finder.ties.pairs[frozenset({one, other})] = ConversationId(new_id())


class DatabaseRoom:
    def __init__(self) -> None:
        self.store: PeopleStore = TortoisePeople()

    async def person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        user = UserId(new_id())
        row = AccountRow(id=user, phone_hash=f"#{name}", phone_sealed=b"", username=name, created_at=NOON)
        row.settings, row.bio, row.sealed_profile = settings or {}, "bio", b"sealed"
        await row.save(force_create=True)
        return user

    async def block(self, owner: UserId, other: UserId) -> None:
        await TortoiseBlocks().block(owner, other, NOON)

    async def befriend(self, one: UserId, other: UserId) -> None:
        await TortoiseFriends().ask(one, other, NOON)
        await TortoiseFriends().accept(other, one, NOON)

    async def talk(self, one: UserId, other: UserId) -> None:
        await TortoiseConversations().open_direct(one, other, NOON)


@asynccontextmanager
async def open_finding_room(url: str | None) -> AsyncIterator[FindingRoom]:
    """A room over that database; without URL in memory."""
    if url is None:
        yield MemoryRoom()
        return
    async with open_database(url):
        yield DatabaseRoom()
