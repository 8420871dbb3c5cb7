"""Collect: one loop reads the mailboxes of all sockets with room in their window, and wakes the long polls."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from vyry.errors import Unavailable
from vyry.kernel.coalescer import Coalescer
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import CollectRequest, Entry, MailStore
from vyry.telemetry import record
from vyry.tracing import trace_step
from web.live.session import SocketSession


#: Mailboxes per statement.
MAX_MAILBOXES: Final = 1_000
_RETRY_SECONDS: Final = 0.5


class LongPoll:
    """One long poll: `wake_event` is set when its mailbox may have a new entry, and when a newer poll of the same device displaces it."""

    __slots__ = ("is_displaced", "wake_event")

    def __init__(self) -> None:
        self.wake_event = asyncio.Event()
        self.is_displaced = False


class Collector:
    """Tracks which mailboxes to read, and reads them for this node's sessions."""

    def __init__(self, store: MailStore, sessions: Mapping[MailboxKey, SocketSession]) -> None:
        self._store = store
        self._sessions = sessions
        #: The long polls of this node.
        self.polls: dict[MailboxKey, LongPoll] = {}
        self._dirty: Coalescer[MailboxKey] = Coalescer(MAX_MAILBOXES)

    @property
    def depth(self) -> int:
        """The mailboxes that wait to be read."""
        return len(self._dirty)

    def mark(self, mailboxes: Iterable[MailboxKey]) -> None:
        """Schedule these mailboxes to be read: they may have new entries."""
        for mailbox in mailboxes:
            if mailbox in self._sessions:
                self._sessions[mailbox].may_have_entries = True
                self._dirty.add(mailbox)
            if mailbox in self.polls:
                self.polls[mailbox].wake_event.set()

    def mark_if_needed(self, session: SocketSession) -> None:
        """Schedule the session's mailbox to be read, if it may have entries that were not sent."""
        if session.may_have_entries:
            self.mark([session.mailbox])

    def polled_mailboxes(self, mailboxes: Collection[MailboxKey]) -> set[MailboxKey]:
        """Those of these mailboxes with a long poll on this node."""
        return self.polls.keys() & mailboxes

    @asynccontextmanager
    async def register_poll(self, mailbox: MailboxKey) -> AsyncIterator[LongPoll]:
        """Register a long poll of this device. An older one in this process ends: a device has at most one."""
        if (older := self.polls.get(mailbox)) is not None:
            older.is_displaced = True
            older.wake_event.set()
        poll = self.polls[mailbox] = LongPoll()
        try:
            yield poll
        finally:
            if self.polls.get(mailbox) is poll:
                del self.polls[mailbox]

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._dirty.wait()
            requests = self._pop_requests()
            if not requests:
                continue
            began = time.perf_counter()
            try:
                entries = await self._store.collect(requests)
            except Unavailable:
                record("collect", 1, time.perf_counter() - began, failures=1)
                await asyncio.sleep(_RETRY_SECONDS)
                self.mark([request.mailbox for request in requests])
                continue
            record("collect", len(entries), time.perf_counter() - began)
            trace_step("collect", (entry.mailbox for entry in entries), began)
            self._distribute(requests, entries)

    def _pop_requests(self) -> list[CollectRequest]:
        sessions = (self._sessions.get(mailbox) for mailbox in self._dirty.take())
        requests = [(session, session.collect_request()) for session in sessions if session is not None]
        for session, request in requests:
            if request is not None:
                session.may_have_entries = False
        return [request for _, request in requests if request is not None]

    def _distribute(self, requests: Sequence[CollectRequest], entries: Sequence[Entry]) -> None:
        pages: dict[MailboxKey, list[Entry]] = {request.mailbox: [] for request in requests}
        for entry in entries:
            pages[entry.mailbox].append(entry)
        for request in requests:
            session = self._sessions.get(request.mailbox)
            if session is not None:
                was_marked = session.may_have_entries
                session.deliver_collected(pages[request.mailbox], request)
                session.may_have_entries = session.may_have_entries or was_marked
                self.mark_if_needed(session)
