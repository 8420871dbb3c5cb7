"""Looks for entries whose hints were lost: every few seconds in the mailbox of every socket, and all the time while hints are in doubt."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vyry.errors import Unavailable
from vyry.kernel.backoff import jittered
from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey
from web.live.collector import MAX_MAILBOXES, Collector
from web.live.delivery import DeliveryLoop
from web.live.revocation import RevokedSocketCloser
from web.live.session import CloseCode, SocketSession


if TYPE_CHECKING:
    from vyry.composition.services import Services

#: The interval of the quick search while hints are in doubt.
DOUBT_SECONDS: Final = 0.3
#: A quick search rests so many times as long as it took: with very many sockets it must not be the only work of the database.
_REST: Final = 4.0
#: Mailboxes per statement of the quick search, which returns only those with new entries.
_QUICK_MAILBOXES: Final = 5_000


class CatchUp:
    """Reads the mailboxes of the sockets of this process without a hint."""

    def __init__(
        self,
        services: "Services",
        sessions: Mapping[MailboxKey, SocketSession],
        *,
        collector: Collector,
        revocation: RevokedSocketCloser,
        delivery: DeliveryLoop,
        interval: float,
    ) -> None:
        self._services = services
        self._sessions = sessions
        self._collector = collector
        self._revocation = revocation
        self._delivery = delivery
        self._interval = interval

    async def run(self) -> None:
        """Search until cancelled. While the database is down nothing is found."""
        due = time.monotonic() + jittered(self._interval, 0.8, 1.2)
        while True:
            await asyncio.sleep(min(DOUBT_SECONDS, self._interval))
            with suppress(Unavailable):
                if self._services.notifier.is_in_doubt:
                    took = await self.search_quickly()
                    await asyncio.sleep(took * _REST)
                if time.monotonic() >= due:
                    due = time.monotonic() + jittered(self._interval, 0.8, 1.2)
                    for mailboxes in batched(list(self._sessions), MAX_MAILBOXES):
                        await self._check_mailboxes(mailboxes)

    async def search_quickly(self) -> float:
        """Have the mailboxes with unsent entries read; returns how many seconds the search took. Raises Unavailable."""
        began = time.monotonic()
        windows = [(mailbox, session.window) for mailbox, session in self._sessions.items()]
        sent = [(mailbox, window.sent) for mailbox, window in windows if window is not None]
        for part in batched(sent, _QUICK_MAILBOXES):
            ahead = await self._services.mail_store.load_states([mailbox for mailbox, _ in part], sent=dict(part))
            self._collector.mark([state.mailbox for state in ahead])
        return time.monotonic() - began

    def release(self, session: SocketSession, seq: int) -> None:
        """Release the window of this socket up to a `seq` that was acknowledged elsewhere."""
        if session.window is not None:
            session.window.release(seq)
            self._collector.mark_if_needed(session)

    async def _check_mailboxes(self, mailboxes: Sequence[MailboxKey]) -> None:
        await self._revocation.close_revoked(
            [self._sessions[mailbox] for mailbox in mailboxes if mailbox in self._sessions]
        )
        for state in await self._services.mail_store.load_states(mailboxes):
            session = self._sessions.get(state.mailbox)
            if session is None or session.window is None:
                continue
            if state.is_ended:
                self._delivery.request_close(session, CloseCode.TOKEN_ENDED)
            elif state.connection > session.connection:
                self._delivery.request_close(session, CloseCode.TAKEN_OVER)
            else:
                self.release(session, state.acknowledged.seq)
                if state.last.seq > session.window.sent:
                    self._collector.mark([state.mailbox])
