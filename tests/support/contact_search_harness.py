"""A harness for the contact search, over memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tests.fakes.discovery import MemoryDiscovery
from tests.support.directory_harness import NOON
from vyry.contacts.discovery import DiscoveryStore, Person, PublicProfile
from vyry.kernel.ids import ConversationId, UserId, new_id
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.database import open_database
from vyry.storage.discovery import TortoiseDiscovery
from vyry.storage.friends import TortoiseFriends
from vyry.storage.models import AccountRow


class ContactSearchHarness(Protocol):
    """A store, and people in it."""

    store: DiscoveryStore

    async def add_person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        """Somebody with this username, whose number has the hash `#name`."""

    async def block(self, owner: UserId, other: UserId) -> None: ...

    async def befriend(self, one: UserId, other: UserId) -> None: ...

    async def add_conversation(self, one: UserId, other: UserId) -> None: ...


class MemoryContactSearch:
    def __init__(self) -> None:
        self._finder = MemoryDiscovery()
        self.store: DiscoveryStore = self._finder

    async def add_person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        user = UserId(new_id())
        self._finder.profiles[user] = PublicProfile(Person(user, name, None, None), "bio", b"sealed")
        if (settings or {}).get("discoverableByPhone", True):
            self._finder.numbers[f"#{name}"] = user
        return user

    async def block(self, owner: UserId, other: UserId) -> None:
        self._finder.ties.blocks[owner, other] = NOON

    async def befriend(self, one: UserId, other: UserId) -> None:
        self._finder.ties.friends |= {(one, other): NOON, (other, one): NOON}

    async def add_conversation(self, one: UserId, other: UserId) -> None:
        self._finder.ties.direct_conversations[frozenset({one, other})] = ConversationId(new_id())


class DatabaseContactSearch:
    def __init__(self) -> None:
        self.store: DiscoveryStore = TortoiseDiscovery()

    async def add_person(self, name: str, settings: dict[str, object] | None = None) -> UserId:
        user = UserId(new_id())
        row = AccountRow(id=user, phone_hash=f"#{name}", phone_sealed=b"", username=name, created_at=NOON)
        row.settings, row.bio, row.sealed_profile = settings or {}, "bio", b"sealed"
        await row.save(force_create=True)
        return user

    async def block(self, owner: UserId, other: UserId) -> None:
        await TortoiseBlocks().block(owner, other, NOON)

    async def befriend(self, one: UserId, other: UserId) -> None:
        await TortoiseFriends().send_request(one, other, NOON)
        await TortoiseFriends().accept(other, one, NOON)

    async def add_conversation(self, one: UserId, other: UserId) -> None:
        await TortoiseConversations().open_direct(one, other, NOON)


@asynccontextmanager
async def open_contact_search(url: str | None) -> AsyncIterator[ContactSearchHarness]:
    """A harness over that database; without URL in memory."""
    if url is None:
        yield MemoryContactSearch()
        return
    async with open_database(url):
        yield DatabaseContactSearch()
