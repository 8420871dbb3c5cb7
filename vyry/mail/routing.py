"""Route and ring: who is told that a mailbox has work, and who is told that it has mail. Both are hints; losing one costs latency only."""

import time
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from typing import Final, Protocol
from uuid import UUID

from vyry.kernel.ids import ConversationId, MailboxKey, UserId
from vyry.mail.store import Deposited
from vyry.telemetry import record


#: Higher than any connection number: the device has ended, and all its sockets with it.
SESSION_ENDED: Final = (1 << 53) - 1


class CacheTopic(IntEnum):
    """What nodes tell each other of, so that what they remember of it is read anew."""

    #: Accounts: their friends, blocks or settings.
    ACCOUNTS = 1
    #: Conversations: their members, or anything else of them.
    CONVERSATIONS = 2


class WorkTopic(Protocol):
    """The way to the mailbox agents: one record per partition and flush, holding mailbox keys and never content."""

    def add(self, mailbox: MailboxKey) -> None:
        """Put the mailbox into the next bag of its partition. Never blocks, never raises."""
        ...


class LocalSockets(Protocol):
    """The sockets of this process, as the router, the depositor and the notifier see them; called in its event loop."""

    def has_reader(self, mailbox: MailboxKey) -> bool:
        """Whether a socket or a long poll of this process waits for this mailbox."""
        ...

    def cache_envelope(self, number: int, packed: bytes) -> None:
        """Keep the content of an envelope that this process is about to deposit: it need not be read again to be delivered."""
        ...

    def on_deposited(self, rows: Sequence[Deposited]) -> set[MailboxKey]:
        """Deliver what belongs to sockets of this process; returns the mailboxes whose readers, if any, are on other nodes."""
        ...

    def on_notify(self, mailboxes: Collection[MailboxKey]) -> None:
        """These mailboxes may have new entries."""
        ...

    def on_displaced(self, mailbox: MailboxKey, connection: int) -> None:
        """Close the sockets of this mailbox with a lower connection number: a newer connection has displaced them."""
        ...

    def on_relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> None:
        """Pass this frame to the sockets of these mailboxes."""
        ...

    def on_invalidated(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        """Invalidate what caches of this process have about these accounts or conversations."""
        ...

    def on_hints_lost(self) -> None:
        """Hints may have been lost: check every mailbox with a socket here, and invalidate all caches that hints keep fresh."""
        ...


class NoSockets:
    """LocalSockets of a process without any: no mailbox has a reader here, and hints are dropped."""

    def has_reader(self, mailbox: MailboxKey) -> bool:  # noqa: ARG002 - the protocol's signature, here and below
        """Never."""
        return False

    def cache_envelope(self, number: int, packed: bytes) -> None:
        """Keep nothing."""

    def on_deposited(self, rows: Sequence[Deposited]) -> set[MailboxKey]:
        """All readers are on other nodes."""
        return {row.mailbox for row in rows}

    def on_notify(self, mailboxes: Collection[MailboxKey]) -> None:
        """Ignored."""

    def on_displaced(self, mailbox: MailboxKey, connection: int) -> None:
        """Ignored."""

    def on_relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> None:
        """Ignored."""

    def on_invalidated(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        """Ignored."""

    def on_hints_lost(self) -> None:
        """Ignored."""


class NodeSockets:
    """The one late binding of the composition: which LocalSockets the router, the depositor and the notifier use.

    These three are built before the web application, which attaches its sockets when it starts. A worker attaches none.
    """

    def __init__(self, sockets: LocalSockets | None = None) -> None:
        self.current: LocalSockets = sockets or NoSockets()

    def attach(self, sockets: LocalSockets) -> None:
        """Use these sockets from now on."""
        self.current = sockets


class Notifier(Protocol):
    """Hints between the nodes. Every method is best effort: it never raises and never takes longer than a second."""

    async def notify(self, mailboxes: Collection[MailboxKey]) -> None:
        """Tell the nodes that hold the sockets of these mailboxes."""
        ...

    async def register_socket(self, mailbox: MailboxKey, connection: int) -> None:
        """This node holds the mailbox's socket from now on; an older holder is told that it is displaced."""
        ...

    async def unregister_socket(self, mailbox: MailboxKey, connection: int) -> None:
        """The socket is gone, unless a newer connection holds the mailbox already."""
        ...

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        """The devices of these mailboxes have ended: their sockets close wherever they are."""
        ...

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        """Pass a frame to the sockets of these mailboxes; answers those that were believed to be held."""
        ...

    async def invalidate(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        """Tell all nodes, this one first, that what they remember of these is outdated."""
        ...


class CacheInvalidation:
    """Tells all nodes what has changed; best effort, so what is remembered has an age as well."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    async def accounts_changed(self, users: Collection[UserId]) -> None:
        """Friends, blocks or settings of these accounts are others now."""
        await self._notifier.invalidate(CacheTopic.ACCOUNTS, users)

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        """These conversations are others now."""
        await self._notifier.invalidate(CacheTopic.CONVERSATIONS, ids)


class DepositQueue(Protocol):
    """What takes dirty mailboxes: the depositor."""

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        """Mark mailboxes as having unnumbered envelopes, perhaps."""
        ...


class Router:
    """Route: mailboxes whose socket is here go to this node's own depositor, all others into a mailbag."""

    def __init__(self, work_topic: WorkTopic, *, depositor: DepositQueue, sockets: NodeSockets) -> None:
        self._work_topic = work_topic
        self._depositor = depositor
        self._sockets = sockets

    def route(self, copies: Iterable[tuple[MailboxKey, int, bytes]]) -> None:
        """Hand over stored envelopes, given as (mailbox, number, packed). Never blocks, never raises."""
        began, local_sockets = time.perf_counter(), self._sockets.current
        here: list[MailboxKey] = []
        count = 0
        for mailbox, number, packed in copies:
            count += 1
            if local_sockets.has_reader(mailbox):
                local_sockets.cache_envelope(number, packed)
                here.append(mailbox)
            else:
                self._work_topic.add(mailbox)
        if here:
            self._depositor.add(here)
        record("route", count, time.perf_counter() - began)
