"""A harness for links: owners with devices and keys, and links at every stage, over each store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

from tests.fakes.device_links import MemoryLinks
from tests.fakes.prekeys import MemoryAccount, MemoryDevice, MemoryKeyAccounts, MemoryPrekeys
from tests.support.account_harness import WEEK, AccountStores, open_stores
from tests.support.directory_harness import IDENTITY, make_upload
from tests.support.fake_clock import NOON
from vyry.accounts.account import Caller, Platform
from vyry.accounts.sessions import Rotation
from vyry.accounts.tokens import RefreshToken
from vyry.devices.keyset import Identity
from vyry.devices.links import LINK_LIFETIME, Approval, Completion, LinkedDevice, LinkState, LinkStore, NewLink, Scan
from vyry.devices.prekeys import PrekeyStore
from vyry.kernel.ids import MailboxId, UserId, new_id
from vyry.storage.device_links import TortoiseLinks
from vyry.storage.prekeys import TortoisePrekeys


EXPIRES = NOON + LINK_LIFETIME
MAX_DEVICES = 6


@dataclass(slots=True)
class LinkHarness:
    """The stores, and what happens around links. All of it happens at noon unless told otherwise."""

    stores: AccountStores
    links: LinkStore
    prekeys: PrekeyStore
    memory_accounts: MemoryKeyAccounts | None = None
    name_counter: "count[int]" = field(default_factory=lambda: count(1))

    async def add_owner(self, letter: str = "a", *, has_keys: bool = True) -> Caller:
        """The primary device of an account with the identity that all have here; signing up again makes another."""
        made = await self.stores.sign_up(letter * 64, refresh=f"refresh {next(self.name_counter)}")
        caller = await self.find_caller(self.stores.last_device)
        assert caller is not None
        if self.memory_accounts is not None:
            before = self.memory_accounts.get(made.user_id, MemoryAccount()).devices
            ended = [replace(device, is_ended=True, keys=None) for device in before]
            device = MemoryDevice(caller.device_id, caller.mailbox)
            self.memory_accounts[made.user_id] = MemoryAccount(devices=[*ended, device])
        if has_keys:
            await self.prekeys.replace(caller, make_upload(registration_id=next(self.name_counter)), NOON)
        return caller

    async def find_caller(self, device: UUID) -> Caller | None:
        """The device as its tokens would speak for it now; None once it has ended."""
        found = (await self.stores.sessions.load_statuses([device])).get(device)
        if found is None:
            return None
        names = (found.user_id, found.device_id, found.device, found.mailbox, found.mailbox_id)
        return Caller(*names, found.is_primary, NOON + WEEK, found.generation)

    async def request_link(self, at: datetime = NOON) -> NewLink:
        """A new device asks."""
        expires_at = at + LINK_LIFETIME
        link = NewLink(new_id(), "5" * 64, b"n" * 32, "tablet", Platform.WEB, "192.0.2.0/24", expires_at)
        await self.links.create(link)
        return link

    async def scanned_link(self, by: Caller) -> UUID:
        """A link that this device scanned."""
        link_id = (await self.request_link()).link_id
        await self.links.scan(make_scan(link_id, by))
        return link_id

    async def approved_link(self, by: Caller) -> tuple[UUID, str]:
        """A link that this device approved, and the hash of the token that completes it."""
        link_id = await self.scanned_link(by)
        await self.links.approve(make_approval(link_id, by))
        token_hash = uuid4().hex
        assert await self.links.claim_provisioning(link_id, token_hash, NOON) == b"sealed"
        return link_id, token_hash

    async def link_device(self, by: Caller) -> LinkedDevice:
        """One device more."""
        _, token_hash = await self.approved_link(by)
        return await self.links.complete(self.make_completion(token_hash))

    def make_completion(
        self, token_hash: str, *, at: datetime = NOON, identity: Identity = IDENTITY, most: int = MAX_DEVICES
    ) -> Completion:
        """The new device with good keys."""
        refresh = RefreshToken("text", f"refresh {next(self.name_counter)}", at + WEEK, at + WEEK)
        keys = make_upload(registration_id=100 + next(self.name_counter), identity=identity)
        return Completion(token_hash, keys, new_id(), MailboxId(new_id()), refresh, most, at)

    async def link_status(self, link_id: UUID, at: datetime = NOON) -> LinkState:
        """How the link stands."""
        return (await self.links.load_states([link_id], at))[link_id]

    async def device_ids(self, user_id: UserId) -> list[int]:
        """The numbers of the live devices."""
        return [int(device.device_id) for device in (await self.stores.devices.list(user_id)).devices]

    async def end_device(self, caller: Caller) -> None:
        """The device ends."""
        await self.stores.devices.end(caller.user_id, caller.device, NOON)

    async def revoke_tokens(self, refresh_hash: str) -> None:
        """A refresh token is used twice: all tokens of its device die, and the device stays."""
        for attempt in ("one", "two"):
            await self.stores.sessions.rotate(Rotation(refresh_hash, attempt, uuid4(), NOON, WEEK))


def make_scan(link_id: UUID, by: Caller, at: datetime = NOON) -> Scan:
    """A scan by this device."""
    return Scan(link_id, by, b"e" * 32, at)


def make_approval(link_id: UUID, by: Caller, at: datetime = NOON, most: int = MAX_DEVICES) -> Approval:
    """An approval by this device."""
    return Approval(link_id, by, b"sealed", most, at)


@asynccontextmanager
async def open_link_harness(url: str | None) -> AsyncIterator[LinkHarness]:
    """A harness over that database; without URL in memory."""
    async with open_stores(url) as stores:
        if url is not None:
            yield LinkHarness(stores, TortoiseLinks(), TortoisePrekeys())
            return
        people = MemoryKeyAccounts()
        ledger = stores.sessions._ledger  # type: ignore[union-attr]
        yield LinkHarness(stores, MemoryLinks(ledger, people), MemoryPrekeys(people), people)
