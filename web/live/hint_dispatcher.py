"""Hints about mail, from this node's deposits and from other nodes, dispatched to sockets and long polls."""

from collections.abc import Collection, MutableMapping, Sequence
from typing import Final, Protocol, assert_never
from uuid import UUID

import msgpack

from vyry.conversations.conversations import CachedConversations
from vyry.kernel.ids import ConversationId, MailboxKey
from vyry.kernel.lru_cache import LruCache
from vyry.mail.routing import SESSION_ENDED, CacheTopic
from vyry.mail.store import Deposited, Entry
from vyry.signals.presence import Presence
from web.live.collector import Collector
from web.live.delivery import DeliveryLoop
from web.live.session import CloseCode, SocketSession


#: Limit in bytes of cached envelopes that this node is about to deposit. An envelope that another node deposits first is only evicted by this limit.
MAX_CACHED_BYTES: Final = 32 << 20


class NodeCaches(Protocol):
    """Caches of this node that changes on other nodes invalidate (vyry/composition/services.py)."""

    @property
    def presence(self) -> Presence:
        """Cache of presence permissions."""
        ...

    @property
    def conversations(self) -> CachedConversations:
        """Cache of conversation members."""
        ...


class HintDispatcher:
    """Dispatches hints and deposits to the sockets they concern: the LocalSockets of a node (vyry/mail/routing.py)."""

    def __init__(
        self,
        sessions: MutableMapping[MailboxKey, SocketSession],
        collector: Collector,
        delivery: DeliveryLoop,
        caches: NodeCaches | None = None,
    ) -> None:
        self._sessions = sessions
        self._collector = collector
        self._delivery = delivery
        self._caches = caches
        self._cached_envelopes: LruCache[int, bytes] = LruCache(MAX_CACHED_BYTES, len)

    def has_reader(self, mailbox: MailboxKey) -> bool:
        """See LocalSockets."""
        return mailbox in self._sessions or bool(self._collector.polled_mailboxes((mailbox,)))

    def cache_envelope(self, number: int, packed: bytes) -> None:
        """See LocalSockets."""
        self._cached_envelopes.put(number, packed)

    def on_deposited(self, rows: Sequence[Deposited]) -> set[MailboxKey]:
        """See LocalSockets."""
        elsewhere: set[MailboxKey] = set()
        here: dict[MailboxKey, list[Entry]] = {}
        for row in rows:
            packed = self._cached_envelopes.pop(row.number)
            if row.mailbox in self._sessions:
                entry = Entry(
                    row.mailbox, row.seq, row.head, row.number, row.loss_reason, None if row.loss_reason else packed
                )
                here.setdefault(row.mailbox, []).append(entry)
            else:
                elsewhere.add(row.mailbox)
        for mailbox, entries in here.items():
            if not self._sessions[mailbox].try_deliver(entries):
                self._collector.mark([mailbox])
        self._collector.mark(self._collector.polled_mailboxes(elsewhere))
        return elsewhere

    def on_notify(self, mailboxes: Collection[MailboxKey]) -> None:
        """See LocalSockets."""
        self._collector.mark(mailboxes)

    def on_displaced(self, mailbox: MailboxKey, connection: int) -> None:
        """See LocalSockets."""
        session = self._sessions.get(mailbox)
        if session is not None and session.connection < connection:
            self._delivery.request_close(
                session, CloseCode.TOKEN_ENDED if connection >= SESSION_ENDED else CloseCode.TAKEN_OVER
            )

    def on_relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> None:
        """See LocalSockets."""
        name, payload = msgpack.unpackb(frame)
        for mailbox in mailboxes:
            session = self._sessions.get(mailbox)
            if session is not None:
                session.send(name, payload)

    def on_invalidated(self, topic: CacheTopic, ids: Collection[UUID]) -> None:
        """See LocalSockets."""
        if self._caches is None:
            return
        match topic:
            case CacheTopic.ACCOUNTS:
                self._caches.presence.invalidate(ids)
            case CacheTopic.CONVERSATIONS:
                self._caches.conversations.invalidate([ConversationId(each) for each in ids])
            case _:
                assert_never(topic)

    def on_hints_lost(self) -> None:
        """See LocalSockets."""
        self._collector.mark(list(self._sessions))
        if self._caches is not None:
            self._caches.presence.invalidate()
            self._caches.conversations.invalidate_all()
