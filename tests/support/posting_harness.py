"""A harness for posting without a node: accounts with devices, their conversations, and the posting service over a mail store in memory."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from tests.fakes.conversations import MemoryConversations
from tests.fakes.mail import MemoryMailStore
from tests.fakes.relationships import MemoryReceipts
from tests.support.fake_clock import NOON, FakeClock
from vyry.conversations.conversations import CachedConversations, Conversation, ConversationKind, Member, Role
from vyry.devices.device_lists import CachedDeviceLists, ListedDevice, Recipient
from vyry.kernel.ids import ConversationId, DeviceId, MailboxKey, UserId, new_id
from vyry.mail.draft import Draft, Sender
from vyry.mail.posting import Posting
from vyry.mail.routing import NodeSockets, Router
from vyry.mail.store import MailboxCaps
from web.wire.messages import Post


class RecordingRouter:
    """Records the mailboxes that the router passes on, in the roles of work topic and depositor."""

    def __init__(self) -> None:
        self.added: list[MailboxKey] = []

    def add(self, mailboxes: Any) -> Any:
        self.added.append(mailboxes)
        return True

    def add_deposited(self, mailboxes: Any) -> None:
        self.added.append(mailboxes)


class PostingHarness(MemoryConversations):
    """The accounts, their device lists and their conversations, and what guards posts in the store."""

    def __init__(self, caps: MailboxCaps | None = None) -> None:
        super().__init__(())
        self.clock = FakeClock()
        self.store = MemoryMailStore(self.clock, caps or MailboxCaps())
        self.people: dict[UserId, Recipient] = {}
        self.circles: dict[ConversationId, Conversation] = {}
        self.looked: list[str] = []

    def add_account(self, devices: int = 1) -> UserId:
        """A new account with devices 1 to `devices`, whose registration ids are ten times their numbers."""
        user = UserId(uuid4())
        self.people[user] = Recipient(user, 1, {})
        for number in range(1, devices + 1):
            self.add_device(user, number)
        return user

    def add_device(self, user: UserId, number: int) -> MailboxKey:
        """One more device with keys: the epoch rises."""
        old = self.people[user]
        box = self.store.state.add_mailbox(user, DeviceId(number))
        self._set_device_list(user, {**old.devices, DeviceId(number): ListedDevice(number * 10, box)})
        return box

    def end_device(self, user: UserId, number: int) -> None:
        """The device has ended: the epoch rises."""
        devices = dict(self.people[user].devices)
        self.store.state.end_mailbox(devices.pop(DeviceId(number)).mailbox)
        self._set_device_list(user, devices)

    def _set_device_list(self, user: UserId, devices: Mapping[DeviceId, ListedDevice]) -> None:
        epoch = self.people[user].epoch + 1
        self.people[user] = Recipient(user, epoch, devices)
        self.store.state.set_epoch(user, epoch)

    def add_conversation(self, *members: UserId) -> ConversationId:
        """A new conversation of these."""
        key = ConversationId(new_id())
        people = {user: Member(Role.MEMBER, NOON) for user in members}
        self.circles[key] = Conversation(key, ConversationKind.GROUP, people, 1, None, None, NOON, NOON)
        self.store.state.set_version(key, 1)
        return key

    def change_members(self, key: ConversationId, *members: UserId) -> None:
        """The conversation has these members now: the version rises."""
        version = self.circles[key].version + 1
        people = {user: Member(Role.MEMBER, NOON) for user in members}
        self.circles[key] = replace(self.circles[key], members=people, version=version)
        self.store.state.set_version(key, version)

    def sender_of(self, user: UserId, number: int = 1) -> Sender:
        """This device as it posts."""
        return Sender(user, DeviceId(number), self.mailbox_of(user, number))

    def mailbox_of(self, user: UserId, number: int = 1) -> MailboxKey:
        """The mailbox of this device."""
        return self.people[user].devices[DeviceId(number)].mailbox

    async def note_writers(self, writers: Collection[tuple[ConversationId, UserId]]) -> None:
        self.ties.writers |= set(writers)

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        self.looked.append("lists")
        return {user: self.people[user] for user in users if user in self.people}

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        self.looked.append("conversations")
        return {key: self.circles[key] for key in ids if key in self.circles}


@asynccontextmanager
async def open_posting(directory: PostingHarness, store: Any = None) -> AsyncIterator[Posting]:
    """A running posting service of this harness; `store` replaces its mail store."""
    routed = RecordingRouter()
    posting = Posting(
        store or directory.store,
        device_lists=CachedDeviceLists(directory),
        conversations=CachedConversations(directory),
        conversation_store=directory,
        receipts=MemoryReceipts(directory.ties),
        router=Router(routed, depositor=routed, sockets=NodeSockets()),
        clock=directory.clock,
    )
    work = asyncio.create_task(posting.run())
    try:
        yield posting
    finally:
        work.cancel()


def make_draft(conversation: ConversationId, *recipients: tuple[UserId, list[int]], **more: Any) -> Draft:
    """A post with one shared content to these devices (with the registration ids of `PostingHarness`)."""
    body: dict[str, Any] = {
        "messageId": str(uuid4()),
        "conversationId": str(conversation),
        "content": b"hello",
        "recipients": [
            {
                "userId": str(user),
                "epoch": 1,
                "devices": [{"deviceId": number, "registrationId": number * 10} for number in numbers],
            }
            for user, numbers in recipients
        ],
    }
    return Post.model_validate(body | more, by_alias=True, by_name=False)
