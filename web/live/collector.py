"""Collect: one loop reads the mailboxes of all sockets that may take more, and wakes the long polls."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from vyry.errors import Unavailable
from vyry.ids import MailboxKey
from vyry.mail.store import Entry, MailStore, Want
from vyry.telemetry import record
from web.live.session import Session


#: Mailboxes read in one statement.
CHUNK: Final = 1_000
_RETRY_SECONDS: Final = 0.5


class Poll:
    """One long poll: `news` is set whenever its mailbox may have something new, and when a newer poll of the same device has taken its place."""

    __slots__ = ("is_displaced", "news")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.is_displaced = False


class Collector:
    """Knows which mailboxes are to be read, and reads them for the sessions held here."""

    def __init__(self, store: MailStore, sessions: Mapping[MailboxKey, Session]) -> None:
        self._store = store
        self._sessions = sessions
        self._polls: dict[MailboxKey, Poll] = {}
        self._dirty: dict[MailboxKey, None] = {}
        self._wake = asyncio.Event()

    def mark(self, mailboxes: Iterable[MailboxKey]) -> None:
        """These mailboxes may have something new."""
        for mailbox in mailboxes:
            if mailbox in self._sessions:
                self._sessions[mailbox].is_behind = True
                self._dirty[mailbox] = None
            if mailbox in self._polls:
                self._polls[mailbox].news.set()
        if self._dirty:
            self._wake.set()

    def look_again(self, session: Session) -> None:
        """The session may take more, if there is more."""
        if session.is_behind:
            self.mark([session.mailbox])

    def polled(self, mailboxes: Collection[MailboxKey]) -> set[MailboxKey]:
        """Those of these mailboxes for which a long poll waits here."""
        return self._polls.keys() & mailboxes

    @asynccontextmanager
    async def polling(self, mailbox: MailboxKey) -> AsyncIterator[Poll]:
        """The long poll of this device: an older one of this process ends, so that polls hold no more than one place a device."""
        if (older := self._polls.get(mailbox)) is not None:
            older.is_displaced = True
            older.news.set()
        poll = self._polls[mailbox] = Poll()
        try:
            yield poll
        finally:
            if self._polls.get(mailbox) is poll:
                del self._polls[mailbox]

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._wake.wait()
            wants = self._take_wants()
            if not wants:
                continue
            began = time.perf_counter()
            try:
                entries = await self._store.collect(wants)
            except Unavailable:
                record("collect", 1, time.perf_counter() - began, failures=1)
                await asyncio.sleep(_RETRY_SECONDS)
                self.mark([want.mailbox for want in wants])
                continue
            record("collect", len(entries), time.perf_counter() - began)
            self._hand_out(wants, entries)

    def _take_wants(self) -> list[Want]:
        batch = list(self._dirty)[:CHUNK]
        for mailbox in batch:
            del self._dirty[mailbox]
        if not self._dirty:
            self._wake.clear()
        sessions = (self._sessions.get(mailbox) for mailbox in batch)
        wants = [(session, session.want()) for session in sessions if session is not None]
        for session, want in wants:
            if want is not None:
                session.is_behind = False
        return [want for _, want in wants if want is not None]

    def _hand_out(self, wants: Sequence[Want], entries: Sequence[Entry]) -> None:
        pages: dict[MailboxKey, list[Entry]] = {want.mailbox: [] for want in wants}
        for entry in entries:
            pages[entry.mailbox].append(entry)
        for want in wants:
            session = self._sessions.get(want.mailbox)
            if session is not None:
                was_marked = session.is_behind
                session.take(pages[want.mailbox], want)
                session.is_behind = session.is_behind or was_marked
                self.look_again(session)
