"""A harness for mail stores: mailboxes, messages and a fake clock, over memory, SQLite and PostgreSQL."""

import hashlib
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from tests.fakes.mail import MemoryMailboxes, MemoryMailStore
from tests.support.fake_clock import NOON, FakeClock
from vyry.kernel.chain import first_head
from vyry.kernel.ids import ConversationId, DeviceId, MailboxId, MailboxKey, MessageId, UserId, new_id
from vyry.kernel.time import to_milliseconds
from vyry.mail.envelope import Envelope, Lane
from vyry.mail.store import (
    Acknowledgement,
    CollectRequest,
    Content,
    Copy,
    Cursor,
    Deposited,
    Entry,
    MailboxCaps,
    MailStore,
    MailUpkeep,
    Message,
    Outdated,
    PostOutcome,
    Preconditions,
    ResumeInfo,
    ResumePoint,
)
from vyry.storage.conversation_models import ConversationRow, FriendRow, MemberRow
from vyry.storage.database import connection, is_postgres, open_database
from vyry.storage.mail_postgres.store import open_postgres_mail
from vyry.storage.mail_sqlite.store import open_sqlite_mail
from vyry.storage.models import AccountRow, DeviceRow, MailboxRow


SENDER = UUID(int=7)
CONVERSATION = UUID(int=9)
NODE = MailboxKey(0)
UNLIMITED = 1 << 40


async def open_mailbox(store: MailStore, mailbox: MailboxKey, after: int, head: bytes | None) -> ResumeInfo:
    """The hello of one device. Raises StaleHead, NotFound."""
    (result,) = await store.open_mailboxes([ResumePoint(mailbox, after, head)])
    if isinstance(result, ResumeInfo):
        return result
    raise result


class Registry(Protocol):
    """How tests say which accounts, devices and conversations there are, and look behind the store."""

    async def add_mailbox(self, user: UserId, device: DeviceId, mailbox_id: MailboxId) -> MailboxKey: ...

    async def end_mailbox(self, mailbox: MailboxKey) -> None: ...

    async def set_epoch(self, user: UserId, epoch: int) -> None: ...

    async def add_conversation(self, conversation: ConversationId, version: int) -> None: ...

    async def befriend(self, owner: UserId, sender: UUID) -> None: ...

    async def share_group(self, owner: UserId, sender: UUID) -> None: ...

    async def count_contents(self) -> int: ...


class MemoryRegistry:
    """The registry of a memory store."""

    def __init__(self, harness: MemoryMailboxes) -> None:
        self._room = harness

    async def add_mailbox(self, user: UserId, device: DeviceId, mailbox_id: MailboxId) -> MailboxKey:
        return self._room.add_mailbox(user, device, mailbox_id)

    async def end_mailbox(self, mailbox: MailboxKey) -> None:
        self._room.end_mailbox(mailbox)

    async def set_epoch(self, user: UserId, epoch: int) -> None:
        self._room.set_epoch(user, epoch)

    async def add_conversation(self, conversation: ConversationId, version: int) -> None:
        self._room.set_version(conversation, version)

    async def befriend(self, owner: UserId, sender: UUID) -> None:
        self._room.ties.add((owner, sender))

    async def share_group(self, owner: UserId, sender: UUID) -> None:
        self._room.ties.add((owner, sender))

    async def count_contents(self) -> int:
        return self._room.count_contents()


class RowRegistry:
    """The registry in a database: the rows as the account-sized adapters write them."""

    async def add_mailbox(self, user: UserId, device: DeviceId, mailbox_id: MailboxId) -> MailboxKey:
        head = first_head(mailbox_id)
        box = await MailboxRow.create(mailbox_id=mailbox_id, head=head, acknowledged_head=head)
        account = {"phone_hash": user.hex, "phone_sealed": b"", "created_at": NOON}
        await AccountRow.get_or_create(account, id=user)
        row = DeviceRow(
            id=new_id(),
            account_id=user,
            device_id=device,
            mailbox=box.id,
            mailbox_id=mailbox_id,
            name="a device",
            platform="cli",
            is_primary=True,
            linked_at=NOON,
            last_seen_on=NOON.date(),
        )
        await row.save(force_create=True)
        return MailboxKey(box.id)

    async def end_mailbox(self, mailbox: MailboxKey) -> None:
        await connection().execute_query_dict(f"UPDATE mailbox SET is_ended = true WHERE id = {mailbox}")

    async def set_epoch(self, user: UserId, epoch: int) -> None:
        await AccountRow.filter(id=user).update(device_list_epoch=epoch)

    async def add_conversation(self, conversation: ConversationId, version: int) -> None:
        row = ConversationRow(id=conversation, kind="direct", version=version, created_at=NOON, last_activity_at=NOON)
        await row.save(force_create=True)

    async def befriend(self, owner: UserId, sender: UUID) -> None:
        _ = await FriendRow.create(account_id=owner, friend_id=sender, since=NOON)

    async def share_group(self, owner: UserId, sender: UUID) -> None:
        group = ConversationRow(id=new_id(), kind="group", version=1, created_at=NOON, last_activity_at=NOON)
        await group.save(force_create=True)
        for account in (owner, sender):
            _ = await MemberRow.create(conversation_id=group.id, account_id=account, role="member", joined_at=NOON)

    async def count_contents(self) -> int:
        (row,) = await connection().execute_query_dict("SELECT count(*) AS n FROM content")
        return int(row["n"])


@dataclass(slots=True)
class MailStoreHarness:
    """One store under test, and short words for what tests do with it."""

    url: str
    store: MailStore
    registry: Registry
    clock: FakeClock
    mailbox_ids: dict[MailboxKey, MailboxId] = field(default_factory=dict)

    @property
    def upkeep(self) -> MailUpkeep:
        """The rest of the store."""
        return self.store.upkeep

    async def upkeep_is_idle(self) -> bool:
        """Whether the sweeper would find nothing to deposit."""
        return await self.upkeep.find_unnumbered(self.clock.now() + timedelta(days=365), 100) == []

    async def add_mailbox(
        self, user: UserId | None = None, device: int = 1, mailbox_id: MailboxId | None = None
    ) -> MailboxKey:
        """A new mailbox, of a new account unless one is named."""
        mailbox_id = mailbox_id or MailboxId(new_id())
        key = await self.registry.add_mailbox(user or UserId(uuid4()), DeviceId(device), mailbox_id)
        self.mailbox_ids[key] = mailbox_id
        return key

    async def post(self, *messages: Message, guards: Preconditions | None = None) -> list[PostOutcome]:
        """Post where nothing is outdated."""
        stored = await self.store.post(messages, guards or Preconditions())
        assert not isinstance(stored, Outdated)
        return stored

    async def post_and_deposit(self, box: MailboxKey, *texts: bytes) -> list[Deposited]:
        """Post and deposit one envelope for each text."""
        await self.post(*(make_message(box, text=text) for text in texts))
        return await self.store.deposit([box])

    async def numbered_entries(self, box: MailboxKey, after: int = 0) -> list[Entry]:
        """All that is numbered in this mailbox."""
        return await self.store.collect([CollectRequest(box, after, 100_000, 1 << 40)])

    async def acknowledge(self, box: MailboxKey, seq: int, head: bytes, sent: int = UNLIMITED) -> Cursor | None:
        """One device acknowledges on a connection that was sent everything, unless it is said how much."""
        (cursor,) = await self.store.acknowledge([Acknowledgement(box, seq, head, sent)])
        return cursor


def make_message(
    *boxes: MailboxKey,
    text: bytes = b"hello",
    sender: MailboxKey = NODE,
    lane: Lane = Lane.MAIL,
    at: datetime = NOON,
    lifetime: timedelta = timedelta(days=1),
) -> Message:
    """A message with one shared content for all these mailboxes."""
    message_id = MessageId(uuid4())
    facts = to_milliseconds(at), to_milliseconds(at + lifetime), int(lane), 3
    envelope = Envelope(SENDER, 1, message_id, CONVERSATION, *facts, text)
    content = Content(envelope.pack(), envelope.digest(), len(text), len(boxes))
    copies = [Copy(box, 0) for box in boxes]
    fingerprint = hashlib.sha256(text).digest()
    facts_of_post = fingerprint, at, at + lifetime, lane, [content], copies
    return Message(sender, message_id, *facts_of_post, conversation_id=ConversationId(CONVERSATION))


def expected_heads(mailbox_id: MailboxId, digests: Sequence[bytes]) -> list[bytes]:
    """The chain by the words of docs/protocol.md alone."""
    head = hashlib.sha256(b"vyry mailbox 1" + mailbox_id.bytes).digest()
    chain = []
    for seq, digest in enumerate(digests, 1):
        head = hashlib.sha256(head + struct.pack(">Q", seq) + digest).digest()
        chain.append(head)
    return chain


def contents_of(entries: Sequence[Entry]) -> list[bytes | None]:
    """The contents of these entries, None for a loss."""
    return [Envelope.unpack(entry.packed).content if entry.packed else None for entry in entries]


def open_store(url: str, clock: FakeClock, caps: MailboxCaps) -> AbstractAsyncContextManager[MailStore]:
    """The store behind this URL."""
    if is_postgres(url):
        return open_postgres_mail(url, clock, caps)
    return open_sqlite_mail(Path(urlsplit(url).path), clock, caps)


@asynccontextmanager
async def open_mail_store(url: str | None, caps: MailboxCaps) -> AsyncIterator[MailStoreHarness]:
    """A new harness over the migrated, empty database behind this URL, or over memory."""
    clock = FakeClock()
    if url is None:
        store = MemoryMailStore(clock, caps)
        yield MailStoreHarness("", store, MemoryRegistry(store.state), clock)
        return
    async with open_database(url), open_store(url, clock, caps) as opened:
        yield MailStoreHarness(url, opened, RowRegistry(), clock)
