"""Route and notify: hints that a mailbox has undeposited envelopes, and that it has new entries. A lost hint costs latency only."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol
from uuid import UUID

from vyry.kernel.ids import ConversationId, MailboxKey, UserId
from vyry.mail.store import Deposited, Message, PostOutcome
from vyry.telemetry import record
from vyry.tracing import trace_step


#: Higher than any connection number: the device has ended, and all its sockets are displaced.
SESSION_ENDED: Final = (1 << 53) - 1


class CacheTopic(IntEnum):
    """The caches of which nodes invalidate entries for each other."""

    #: By account: friends, blocks, settings.
    ACCOUNTS = 1
    #: By conversation: members, and everything else of it.
    CONVERSATIONS = 2


class WorkTopic(Protocol):
    """The topic of the mailbox agents: work records have mailbox keys and no content."""

    def add(self, mailbox: MailboxKey) -> bool:
        """Put the mailbox into the next work record of its partition; False if there is no connection. Never blocks, never raises."""
        ...


class WorkerLiveness(Protocol):
    """Whether workers read the work topic."""

    @property
    def is_any_alive(self) -> bool:
        """Whether at least one worker lives, as far as this process knows."""
        ...


class WorkerInProcess:
    """WorkerLiveness of a process that is a worker itself."""

    is_any_alive: Final = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketDetails:
    """The socket of a device as its node knows it, for `vyry mailbox explain`."""

    connection: int
    #: The highest sequence number that was sent on it, and how many entries were sent and are not acknowledged.
    sent_seq: int
    unacknowledged: int
    #: Nothing more is sent before the device acknowledges something.
    is_window_full: bool
    #: Frames that wait for the client to read, and bytes that are in the buffers of the connection.
    waiting_frames: int
    unread_bytes: int
    #: Since the last page of entries was written (None: none on this socket), and since the last frame or pong of the device.
    seconds_since_delivery: float | None
    seconds_since_heard: float


class LocalSockets(Protocol):
    """The sockets of this process, as the router, the depositor and the notifier see them; called in its event loop."""

    @property
    def readers(self) -> Collection[MailboxKey]:
        """The mailboxes for which a socket or a long poll of this process waits, at any time; `in` costs little."""
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

    readers: Collection[MailboxKey] = ()

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
        #: The socket of a mailbox; None without one here.
        self.describe: DescribeSocket = _no_socket

    def attach(self, sockets: LocalSockets, describe: "DescribeSocket | None" = None) -> None:
        """Use these sockets from now on."""
        self.current, self.describe = sockets, describe or _no_socket


DescribeSocket = Callable[[MailboxKey], SocketDetails | None]


def _no_socket(_: MailboxKey) -> SocketDetails | None:
    return None


class Notifier(Protocol):
    """Hints between the nodes. Every method is best effort: it never raises and takes at most a second."""

    @property
    def is_in_doubt(self) -> bool:
        """Whether hints may be lost or late at this moment: the mailboxes with a socket have to be looked at instead."""
        ...

    async def notify(self, mailboxes: Collection[MailboxKey]) -> None:
        """Send a hint to the nodes that have sockets of these mailboxes."""
        ...

    async def register_socket(self, mailbox: MailboxKey, connection: int) -> None:
        """This node has the socket of the mailbox from now on; an older socket elsewhere is displaced."""
        ...

    async def unregister_socket(self, mailbox: MailboxKey, connection: int) -> None:
        """The socket has closed. Nothing happens if a newer connection has registered."""
        ...

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        """The devices of these mailboxes have ended: close their sockets on all nodes."""
        ...

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        """Pass a frame to the sockets of these mailboxes; returns the mailboxes that have a socket as far as known."""
        ...

    async def invalidate(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        """Invalidate these entries in the caches of all nodes, this one first."""
        ...


class CacheInvalidation:
    """Invalidates caches on all nodes; best effort, so cached entries expire as well."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    async def accounts_changed(self, users: Collection[UserId]) -> None:
        """Friends, blocks or settings of these accounts have changed."""
        await self._notifier.invalidate(CacheTopic.ACCOUNTS, users)

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        """These conversations have changed."""
        await self._notifier.invalidate(CacheTopic.CONVERSATIONS, ids)


class DepositQueue(Protocol):
    """The queue of mailboxes to deposit: the depositor."""

    def add(self, mailboxes: Iterable[MailboxKey]) -> None:
        """These mailboxes may have undeposited envelopes."""
        ...


class DepositQueueOfNode(DepositQueue, Protocol):
    """The depositor of a node that deposits with its posts."""

    def add_deposited(self, mailboxes: Iterable[MailboxKey]) -> None:
        """These mailboxes have new entries, and their readers, if any, are on other nodes."""
        ...


class Router:
    """Route: a mailbox with a reader on this node goes to its depositor, every other one into a work record.

    While no worker lives, or Kafka is down, this node deposits for all mailboxes of its posts.
    """

    def __init__(
        self,
        work_topic: WorkTopic,
        *,
        depositor: DepositQueueOfNode,
        sockets: NodeSockets,
        workers: WorkerLiveness | None = None,
    ) -> None:
        self._work_topic = work_topic
        self._depositor = depositor
        self._sockets = sockets
        self._workers = workers or WorkerInProcess()

    @property
    def readers(self) -> Collection[MailboxKey]:
        """See LocalSockets: the mailboxes that a post of this node deposits itself."""
        return self._sockets.current.readers

    def pass_on(self, stored: Iterable[tuple[Message, PostOutcome]], began: float) -> None:
        """Deliver what these new messages deposited since `began` (time.perf_counter), and route their other envelopes. Never blocks, never raises."""
        routed: list[tuple[MailboxKey, int, bytes]] = []
        deposited: list[tuple[Deposited, bytes]] = []
        for message, outcome in stored:
            for i, (copy, number) in enumerate(zip(message.copies, outcome.numbers, strict=True)):
                packed = message.contents[copy.content].packed
                if (row := outcome.deposited.get(i)) is not None:
                    deposited.append((row, packed))
                elif number is not None:
                    routed.append((copy.mailbox, number, packed))
        if deposited:
            record("deposit", len(deposited), time.perf_counter() - began)
            trace_step("deposit", (row.mailbox for row, _ in deposited), began)
            self._deliver(deposited)
        if routed:
            self.route(routed)

    def _deliver(self, copies: Sequence[tuple[Deposited, bytes]]) -> None:
        local_sockets = self._sockets.current
        for row, packed in copies:
            local_sockets.cache_envelope(row.number, packed)
        if elsewhere := local_sockets.on_deposited([row for row, _ in copies]):
            self._depositor.add_deposited(elsewhere)

    def route(self, copies: Iterable[tuple[MailboxKey, int, bytes]]) -> None:
        """Route stored envelopes, given as (mailbox, number, packed). Never blocks, never raises."""
        began, local_sockets = time.perf_counter(), self._sockets.current
        readers, has_worker = local_sockets.readers, self._workers.is_any_alive
        here: list[MailboxKey] = []
        count = 0
        for mailbox, number, packed in copies:
            count += 1
            if mailbox in readers:
                local_sockets.cache_envelope(number, packed)
                here.append(mailbox)
            elif not (has_worker and self._work_topic.add(mailbox)):
                here.append(mailbox)
        if here:
            self._depositor.add(here)
        record("route", count, time.perf_counter() - began)
