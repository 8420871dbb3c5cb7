"""A key directory with people and devices around it, over each adapter."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import count
from typing import Protocol

from tests.fakes.conversations import MemoryConversations
from tests.fakes.groups import MemoryGroups, MemoryInvitations, MemoryInviteLinks
from tests.fakes.prekeys import (
    MemoryAccount,
    MemoryDevice,
    MemoryDeviceLists,
    MemoryKeyAccounts,
    MemoryPrekeys,
)
from tests.fakes.relationships import MemoryBlocks, MemoryFriends, MemoryReceipts, Relationships
from vyry.accounts.account import Caller
from vyry.contacts.blocks import BlockStore
from vyry.contacts.friends import FriendStore
from vyry.conversations.conversations import ConversationStore
from vyry.conversations.groups import GroupStore
from vyry.conversations.invitations import InvitationStore
from vyry.conversations.invite_links import InviteLinkStore
from vyry.devices.device_lists import DeviceListStore
from vyry.devices.keyset import ClaimResult, Identity, KeyRefill, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from vyry.devices.prekeys import PrekeyStore
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId, new_id
from vyry.mail.receipts import ReceiptStore
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.database import open_database
from vyry.storage.friends import TortoiseFriends
from vyry.storage.groups import TortoiseGroups
from vyry.storage.invitations import TortoiseInvitations, TortoiseInviteLinks
from vyry.storage.models import AccountRow, DeviceRow
from vyry.storage.prekeys import TortoiseDeviceLists, TortoisePrekeys
from vyry.storage.privacy import TortoiseReceipts


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class DirectoryHarness(Protocol):
    """The stores under test, and how people come into being for them."""

    prekeys: PrekeyStore
    lists: DeviceListStore
    conversations: ConversationStore
    friends: FriendStore
    blocks: BlockStore
    groups: GroupStore
    invites: InviteLinkStore
    invitations: InvitationStore
    receipts: ReceiptStore

    async def add_account(self) -> UserId:
        """A new account without devices."""

    async def add_device(self, user: UserId, number: int = 1) -> Caller:
        """A new device of the account, without keys."""

    async def end_device(self, caller: Caller) -> None:
        """End the device; its number may be given again."""

    async def accept_friends_only(self, user: UserId) -> None:
        """From now on the account hears from friends only."""

    async def hide_receipts(self, user: UserId) -> None:
        """From now on the account lets nobody know what has come to it."""


class MemoryDirectory:
    def __init__(self) -> None:
        self._people = MemoryKeyAccounts()
        self._mailboxes = count(1)
        self._ties = Relationships()
        self.prekeys: PrekeyStore = MemoryPrekeys(self._people, self._ties)
        self.lists: DeviceListStore = MemoryDeviceLists(self._people)
        conversations = MemoryConversations(self._people, self._ties)
        self.conversations: ConversationStore = conversations
        self.friends: FriendStore = MemoryFriends(self._people, self._ties)
        self.blocks: BlockStore = MemoryBlocks(self._people, self._ties, conversations.raise_version)
        groups = MemoryGroups(conversations)
        self.groups: GroupStore = groups
        self.invites: InviteLinkStore = MemoryInviteLinks(groups)
        self.invitations: InvitationStore = MemoryInvitations(groups)
        self.receipts: ReceiptStore = MemoryReceipts(self._ties)

    async def add_account(self) -> UserId:
        user = UserId(new_id())
        self._people[user] = MemoryAccount()
        return user

    async def add_device(self, user: UserId, number: int = 1) -> Caller:
        caller = new_caller(user, number, next(self._mailboxes))
        self._people[user].devices.append(MemoryDevice(caller.device_id, caller.mailbox))
        return caller

    async def end_device(self, caller: Caller) -> None:
        account, device = self._people.live_device(caller)
        device.is_ended, device.keys = True, None
        account.epoch += 1

    async def accept_friends_only(self, user: UserId) -> None:
        self._ties.friends_only.add(user)

    async def hide_receipts(self, user: UserId) -> None:
        self._ties.receipts_off.add(user)


class DatabaseDirectory:
    def __init__(self) -> None:
        self._mailboxes = count(1)
        self.prekeys: PrekeyStore = TortoisePrekeys()
        self.lists: DeviceListStore = TortoiseDeviceLists()
        self.conversations: ConversationStore = TortoiseConversations()
        self.friends: FriendStore = TortoiseFriends()
        self.blocks: BlockStore = TortoiseBlocks()
        self.groups: GroupStore = TortoiseGroups()
        self.invites: InviteLinkStore = TortoiseInviteLinks()
        self.invitations: InvitationStore = TortoiseInvitations()
        self.receipts: ReceiptStore = TortoiseReceipts()

    async def add_account(self) -> UserId:
        user = UserId(new_id())
        await AccountRow(id=user, phone_hash=user.hex, phone_sealed=b"", created_at=NOON).save(force_create=True)
        return user

    async def add_device(self, user: UserId, number: int = 1) -> Caller:
        caller = new_caller(user, number, next(self._mailboxes))
        row = DeviceRow(
            id=caller.device,
            account_id=user,
            device_id=number,
            mailbox=caller.mailbox,
            mailbox_id=caller.mailbox_id,
            name="a device",
            platform="cli",
            is_primary=True,
            linked_at=NOON,
            last_seen_on=date(2026, 11, 23),
        )
        await row.save(force_create=True)
        return caller

    async def end_device(self, caller: Caller) -> None:
        await DeviceRow.filter(id=caller.device).update(ended_at=NOON)

    async def accept_friends_only(self, user: UserId) -> None:
        await AccountRow.filter(id=user).update(settings={"messagesFrom": "friends"})

    async def hide_receipts(self, user: UserId) -> None:
        await AccountRow.filter(id=user).update(settings={"deliveryReceipts": False})


@asynccontextmanager
async def open_directory(url: str | None) -> AsyncIterator[DirectoryHarness]:
    """A harness over that database; without URL in memory."""
    if url is None:
        yield MemoryDirectory()
        return
    async with open_database(url):
        yield DatabaseDirectory()


def new_caller(user: UserId, number: int, mailbox: int) -> Caller:
    """Somebody signed in on a device."""
    return Caller(
        user_id=user,
        device_id=DeviceId(number),
        device=new_id(),
        mailbox=MailboxKey(mailbox),
        mailbox_id=MailboxId(new_id()),
        is_primary=True,
        expires_at=NOON,
    )


IDENTITY = Identity(Suite.VYRY, b"identity", b"dh", b"dh signature")
LAST_RESORT = SignedPrekey(1, b"last resort", b"signature")


def make_upload(
    ids: range = range(1, 4), pq_ids: range = range(1, 3), registration_id: int = 77, identity: Identity = IDENTITY
) -> KeyUpload:
    """A set of keys that stores take without looking inside."""
    more = make_refill(ids, pq_ids)
    signed = SignedPrekey(1, b"signed prekey", b"signature")
    return KeyUpload(registration_id, identity, signed, LAST_RESORT, more.one_time, more.pq)


def make_refill(ids: range = range(0), pq_ids: range = range(0)) -> KeyRefill:
    """One-time prekeys on top."""
    return KeyRefill(
        [OneTimePrekey(number, b"ec %d" % number) for number in ids],
        [SignedPrekey(number, b"pq %d" % number, b"signature %d" % number) for number in pq_ids],
    )


def claimed_key_ids(claims: Sequence[ClaimResult]) -> tuple[list[int], list[int]]:
    """The ids of all one-time keys in these claims."""
    bundles = [bundle for each in claims for bundle in each.bundles]
    return (
        [bundle.one_time.id for bundle in bundles if bundle.one_time],
        [bundle.pq.id for bundle in bundles if not bundle.is_last_resort],
    )
