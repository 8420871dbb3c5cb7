"""A key directory with people and devices around it, over each adapter."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import count
from typing import Protocol

from vyry.accounts.account import Caller
from vyry.adapters.blocks import TortoiseBlocks
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.database import open_database
from vyry.adapters.friends import TortoiseFriends
from vyry.adapters.groups import TortoiseGroups
from vyry.adapters.invitations import TortoiseInvitations
from vyry.adapters.invites import TortoiseInvites
from vyry.adapters.memory_circles import MemoryConversations
from vyry.adapters.memory_groups import MemoryGroups, MemoryInvitations, MemoryInvites
from vyry.adapters.memory_prekeys import MemoryAccount, MemoryDevice, MemoryDeviceLists, MemoryPeople, MemoryPrekeys
from vyry.adapters.memory_ties import MemoryBlocks, MemoryFriends, MemoryReceipts, Ties
from vyry.adapters.prekeys import TortoiseDeviceLists, TortoisePrekeys
from vyry.adapters.receipts import TortoiseReceipts
from vyry.adapters.rows import AccountRow, DeviceRow
from vyry.circles.blocks import BlockStore
from vyry.circles.conversations import ConversationStore
from vyry.circles.friends import FriendStore
from vyry.circles.groups import GroupStore
from vyry.circles.invitations import InvitationStore
from vyry.circles.invites import InviteStore
from vyry.devices.directory import DeviceLists
from vyry.devices.keyset import Claimed, Identity, KeyRefill, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from vyry.devices.prekeys import PrekeyStore
from vyry.ids import DeviceId, MailboxId, MailboxKey, UserId, new_id
from vyry.mail.receipts import ReceiptStore


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class KeyRoom(Protocol):
    """The stores under test, and how people come into being for them."""

    prekeys: PrekeyStore
    lists: DeviceLists
    conversations: ConversationStore
    friends: FriendStore
    blocks: BlockStore
    groups: GroupStore
    invites: InviteStore
    invitations: InvitationStore
    receipts: ReceiptStore

    async def person(self) -> UserId:
        """A new account without devices."""

    async def device(self, user: UserId, number: int = 1) -> Caller:
        """A new device of the account, without keys."""

    async def end(self, caller: Caller) -> None:
        """End the device; its number may be given again."""

    async def reserve(self, user: UserId) -> None:
        """From now on the account hears from friends only."""

    async def hide_receipts(self, user: UserId) -> None:
        """From now on the account lets nobody know what has come to it."""


class MemoryRoom:
    def __init__(self) -> None:
        self._people = MemoryPeople()
        self._mailboxes = count(1)
        self._ties = Ties()
        self.prekeys: PrekeyStore = MemoryPrekeys(self._people, self._ties)
        self.lists: DeviceLists = MemoryDeviceLists(self._people)
        conversations = MemoryConversations(self._people, self._ties)
        self.conversations: ConversationStore = conversations
        self.friends: FriendStore = MemoryFriends(self._people, self._ties)
        self.blocks: BlockStore = MemoryBlocks(self._people, self._ties, conversations.raise_version)
        groups = MemoryGroups(conversations)
        self.groups: GroupStore = groups
        self.invites: InviteStore = MemoryInvites(groups)
        self.invitations: InvitationStore = MemoryInvitations(groups)
        self.receipts: ReceiptStore = MemoryReceipts(self._ties)

    async def person(self) -> UserId:
        user = UserId(new_id())
        self._people[user] = MemoryAccount()
        return user

    async def device(self, user: UserId, number: int = 1) -> Caller:
        caller = new_caller(user, number, next(self._mailboxes))
        self._people[user].devices.append(MemoryDevice(caller.device_id, caller.mailbox))
        return caller

    async def end(self, caller: Caller) -> None:
        account, device = self._people.owned(caller)
        device.is_ended, device.keys = True, None
        account.epoch += 1

    async def reserve(self, user: UserId) -> None:
        self._ties.reserved.add(user)

    async def hide_receipts(self, user: UserId) -> None:
        self._ties.secretive.add(user)


class DatabaseRoom:
    def __init__(self) -> None:
        self._mailboxes = count(1)
        self.prekeys: PrekeyStore = TortoisePrekeys()
        self.lists: DeviceLists = TortoiseDeviceLists()
        self.conversations: ConversationStore = TortoiseConversations()
        self.friends: FriendStore = TortoiseFriends()
        self.blocks: BlockStore = TortoiseBlocks()
        self.groups: GroupStore = TortoiseGroups()
        self.invites: InviteStore = TortoiseInvites()
        self.invitations: InvitationStore = TortoiseInvitations()
        self.receipts: ReceiptStore = TortoiseReceipts()

    async def person(self) -> UserId:
        user = UserId(new_id())
        await AccountRow(id=user, phone_hash=user.hex, phone_sealed=b"", created_at=NOON).save(force_create=True)
        return user

    async def device(self, user: UserId, number: int = 1) -> Caller:
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

    async def end(self, caller: Caller) -> None:
        await DeviceRow.filter(id=caller.device).update(ended_at=NOON)

    async def reserve(self, user: UserId) -> None:
        await AccountRow.filter(id=user).update(settings={"messagesFrom": "friends"})

    async def hide_receipts(self, user: UserId) -> None:
        await AccountRow.filter(id=user).update(settings={"deliveryReceipts": False})


@asynccontextmanager
async def open_key_room(url: str | None) -> AsyncIterator[KeyRoom]:
    """A room over that database; without URL in memory."""
    if url is None:
        yield MemoryRoom()
        return
    async with open_database(url):
        yield DatabaseRoom()


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


def upload(
    ids: range = range(1, 4), pq_ids: range = range(1, 3), registration_id: int = 77, identity: Identity = IDENTITY
) -> KeyUpload:
    """A set of keys that stores take without looking inside."""
    more = refill(ids, pq_ids)
    signed = SignedPrekey(1, b"signed prekey", b"signature")
    return KeyUpload(registration_id, identity, signed, LAST_RESORT, more.one_time, more.pq)


def refill(ids: range = range(0), pq_ids: range = range(0)) -> KeyRefill:
    """One-time prekeys on top."""
    return KeyRefill(
        [OneTimePrekey(number, b"ec %d" % number) for number in ids],
        [SignedPrekey(number, b"pq %d" % number, b"signature %d" % number) for number in pq_ids],
    )


def handed_out(claims: Sequence[Claimed]) -> tuple[list[int], list[int]]:
    """The ids of all one-time keys in these claims."""
    bundles = [bundle for each in claims for bundle in each.bundles]
    return (
        [bundle.one_time.id for bundle in bundles if bundle.one_time],
        [bundle.pq.id for bundle in bundles if not bundle.is_last_resort],
    )
