"""Where links are tried: owners with devices and keys, and links at every stage, over each adapter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

from tests.account_room import NOON, WEEK, AccountStores, open_stores
from tests.contracts.key_room import IDENTITY, upload
from vyry.accounts.account import Caller, Platform
from vyry.accounts.sessions import Rotation
from vyry.accounts.tokens import RefreshToken
from vyry.adapters.links import TortoiseLinks
from vyry.adapters.memory_links import MemoryLinks
from vyry.adapters.memory_prekeys import MemoryAccount, MemoryDevice, MemoryPeople, MemoryPrekeys
from vyry.adapters.prekeys import TortoisePrekeys
from vyry.devices.keyset import Identity
from vyry.devices.links import LINK_LIFETIME, Approval, Completion, Linked, LinkState, LinkStore, NewLink, Scan
from vyry.devices.prekeys import PrekeyStore
from vyry.ids import MailboxId, UserId, new_id


EXPIRES = NOON + LINK_LIFETIME
MOST = 6


@dataclass(slots=True)
class LinkRoom:
    """The stores, and what happens around links. All of it happens at noon unless told otherwise."""

    stores: AccountStores
    links: LinkStore
    prekeys: PrekeyStore
    people: MemoryPeople | None = None
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def owner(self, letter: str = "a", *, has_keys: bool = True) -> Caller:
        """The primary device of an account with the identity that all have here; signing up again makes another."""
        made = await self.stores.sign_up(letter * 64, refresh=f"refresh {next(self.numbers)}")
        caller = await self.caller(self.stores.last_device)
        assert caller is not None
        if self.people is not None:
            before = self.people.get(made.user_id, MemoryAccount()).devices
            ended = [replace(device, is_ended=True, keys=None) for device in before]
            device = MemoryDevice(caller.device_id, caller.mailbox)
            self.people[made.user_id] = MemoryAccount(devices=[*ended, device])
        if has_keys:
            await self.prekeys.replace(caller, upload(registration_id=next(self.numbers)), NOON)
        return caller

    async def caller(self, device: UUID) -> Caller | None:
        """The device as its tokens would speak for it now; None once it has ended."""
        found = (await self.stores.sessions.standings([device])).get(device)
        if found is None:
            return None
        names = (found.user_id, found.device_id, found.device, found.mailbox, found.mailbox_id)
        return Caller(*names, found.is_primary, NOON + WEEK, found.generation)

    async def ask(self, at: datetime = NOON) -> NewLink:
        """A new device asks."""
        expires_at = at + LINK_LIFETIME
        link = NewLink(new_id(), "5" * 64, b"n" * 32, "tablet", Platform.WEB, "192.0.2.0/24", expires_at)
        await self.links.open(link)
        return link

    async def scanned(self, by: Caller) -> UUID:
        """A link that this device scanned."""
        link_id = (await self.ask()).link_id
        await self.links.scan(scan(link_id, by))
        return link_id

    async def approved(self, by: Caller) -> tuple[UUID, str]:
        """A link that this device approved, and the hash of the token that completes it."""
        link_id = await self.scanned(by)
        await self.links.approve(approval(link_id, by))
        token_hash = uuid4().hex
        assert await self.links.take(link_id, token_hash, NOON) == b"sealed"
        return link_id, token_hash

    async def linked(self, by: Caller) -> Linked:
        """One device more."""
        _, token_hash = await self.approved(by)
        return await self.links.complete(self.completion(token_hash))

    def completion(
        self, token_hash: str, *, at: datetime = NOON, identity: Identity = IDENTITY, most: int = MOST
    ) -> Completion:
        """The new device with good keys."""
        refresh = RefreshToken("text", f"refresh {next(self.numbers)}", at + WEEK, at + WEEK)
        keys = upload(registration_id=100 + next(self.numbers), identity=identity)
        return Completion(token_hash, keys, new_id(), MailboxId(new_id()), refresh, most, at)

    async def state(self, link_id: UUID, at: datetime = NOON) -> LinkState:
        """How the link stands."""
        return (await self.links.look([link_id], at))[link_id]

    async def numbered(self, user_id: UserId) -> list[int]:
        """The numbers of the live devices."""
        return [int(device.device_id) for device in (await self.stores.devices.list(user_id)).devices]

    async def end(self, caller: Caller) -> None:
        """The device ends."""
        await self.stores.devices.end(caller.user_id, caller.device, NOON)

    async def lose_tokens(self, refresh_hash: str) -> None:
        """A refresh token is used twice: all tokens of its device die, and the device stays."""
        for attempt in ("one", "two"):
            await self.stores.sessions.rotate(Rotation(refresh_hash, attempt, uuid4(), NOON, WEEK))


def scan(link_id: UUID, by: Caller, at: datetime = NOON) -> Scan:
    """A scan by this device."""
    return Scan(link_id, by, b"e" * 32, at)


def approval(link_id: UUID, by: Caller, at: datetime = NOON, most: int = MOST) -> Approval:
    """An approval by this device."""
    return Approval(link_id, by, b"sealed", most, at)


@asynccontextmanager
async def open_link_room(url: str | None) -> AsyncIterator[LinkRoom]:
    """A room over that database; without URL in memory."""
    async with open_stores(url) as stores:
        if url is not None:
            yield LinkRoom(stores, TortoiseLinks(), TortoisePrekeys())
            return
        people = MemoryPeople()
        ledger = stores.sessions._ledger  # type: ignore[union-attr]
        yield LinkRoom(stores, MemoryLinks(ledger, people), MemoryPrekeys(people), people)
