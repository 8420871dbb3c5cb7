"""What this node hears of the mail: deposits made here, and the doorbell."""

from collections import OrderedDict
from collections.abc import Collection, MutableMapping, Sequence
from typing import Final, Protocol, assert_never
from uuid import UUID

import msgpack

from vyry.circles.conversations import CachedConversations
from vyry.ids import ConversationId, MailboxKey
from vyry.mail.routing import ENDED, Doorbell, Topic
from vyry.mail.store import Deposited, Entry
from vyry.signals.presence import Presence
from web.live.collector import Collector
from web.live.delivery import Delivery
from web.live.session import CloseCode, Session


#: How much is kept, in bytes, of envelopes that this node is about to deposit: what somebody else deposited first stays until then.
EXPECTED_BYTES: Final = 32 << 20


class Remembered(Protocol):
    """What this node remembers that others may change (vyry/bootstrap.py)."""

    @property
    def presence(self) -> Presence:
        """Who is shown to whom."""
        ...

    @property
    def conversations(self) -> CachedConversations:
        """Who belongs to which conversation."""
        ...


class Hearing:
    """Takes hints and deposits to the sockets they concern. It is the node's NearBy and DoorbellListener (vyry/mail/routing.py)."""

    def __init__(
        self,
        sessions: MutableMapping[MailboxKey, Session],
        collector: Collector,
        delivery: Delivery,
        doorbell: Doorbell,
        remembered: Remembered | None = None,
    ) -> None:
        self._sessions = sessions
        self._collector = collector
        self._delivery = delivery
        self._doorbell = doorbell
        self._remembered = remembered
        self._expected: OrderedDict[int, bytes] = OrderedDict()
        self._expected_bytes = 0

    def holds(self, mailbox: MailboxKey) -> bool:
        """See NearBy."""
        return mailbox in self._sessions or bool(self._collector.polled((mailbox,)))

    def expect(self, number: int, packed: bytes) -> None:
        """See NearBy."""
        self._expected[number] = packed
        self._expected_bytes += len(packed)
        while self._expected_bytes > EXPECTED_BYTES:
            self._expected_bytes -= len(self._expected.popitem(last=False)[1])

    async def on_deposited(self, rows: Sequence[Deposited]) -> None:
        """This node's depositor numbered these: deliver what belongs to sockets here, ring for the rest."""
        elsewhere: set[MailboxKey] = set()
        here: dict[MailboxKey, list[Entry]] = {}
        for row in rows:
            packed = self._expected.pop(row.number, None)
            if packed is not None:
                self._expected_bytes -= len(packed)
            if row.mailbox in self._sessions:
                entry = Entry(row.mailbox, row.seq, row.head, row.number, row.loss, None if row.loss else packed)
                here.setdefault(row.mailbox, []).append(entry)
            else:
                elsewhere.add(row.mailbox)
        for mailbox, entries in here.items():
            if not self._sessions[mailbox].offer(entries):
                self._collector.mark([mailbox])
        self._collector.mark(self._collector.polled(elsewhere))
        if elsewhere:
            await self._doorbell.ring(elsewhere)

    def on_ring(self, mailboxes: Collection[MailboxKey]) -> None:
        """See DoorbellListener."""
        self._collector.mark(mailboxes)

    def on_displaced(self, mailbox: MailboxKey, connection: int) -> None:
        """See DoorbellListener."""
        session = self._sessions.get(mailbox)
        if session is not None and session.connection < connection:
            self._delivery.end(session, CloseCode.TOKEN_ENDED if connection >= ENDED else CloseCode.TAKEN_OVER)

    def on_relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> None:
        """See DoorbellListener."""
        name, payload = msgpack.unpackb(frame)
        for mailbox in mailboxes:
            session = self._sessions.get(mailbox)
            if session is not None:
                session.send(name, payload)

    def on_changed(self, topic: Topic, ids: Collection[UUID]) -> None:
        """See DoorbellListener."""
        if self._remembered is None:
            return
        match topic:
            case Topic.PEOPLE:
                self._remembered.presence.doubt(ids)
            case Topic.CONVERSATIONS:
                self._remembered.conversations.forget([ConversationId(each) for each in ids])
            case _:
                assert_never(topic)

    def on_gap(self) -> None:
        """See DoorbellListener."""
        self._collector.mark(list(self._sessions))
        if self._remembered is not None:
            self._remembered.presence.doubt()
            self._remembered.conversations.forget_all()
