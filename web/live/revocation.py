"""Closes the sockets of sessions that have ended, wherever they ended."""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vyry.errors import InvalidToken, Unavailable
from web.live.delivery import DeliveryLoop
from web.live.session import CloseCode, SocketSession


if TYPE_CHECKING:
    from vyry.composition.services import Services

#: Twice within the second in which the socket of an ended session must close. Each check is one statement, for any number of sockets.
CHECK_SECONDS: Final = 0.4


class RevokedSocketCloser:
    """Closes the sockets of ended sessions (4401), wherever they ended. It needs no hint: Redis may be down, and an operator's command sends none."""

    def __init__(self, services: "Services", sockets: Collection[SocketSession], delivery: DeliveryLoop) -> None:
        self._services = services
        self._sockets = sockets
        self._delivery = delivery

    async def run(self) -> None:
        """Check until cancelled. While the database is down no session can end; sessions that ended before are found when it is up."""
        while True:
            with suppress(Unavailable):
                await self.check_all()
            await asyncio.sleep(CHECK_SECONDS)

    async def check_all(self) -> None:
        """Check once. Raises Unavailable."""
        devices, people = await self._services.revocation_watcher.poll(time.monotonic())
        is_signed = self._services.sessions.has_valid_key
        concerned = [
            each
            for each in self._sockets
            if each.caller.device in devices or each.caller.user_id in people or not is_signed(each.caller)
        ]
        self._services.revocation_watcher.invalidate({each.caller.device for each in concerned})
        await self.close_revoked(concerned)

    async def close_revoked(self, sessions: Sequence[SocketSession]) -> None:
        """Close the sockets whose sessions have ended; one statement checks all of them."""
        checks = (self._services.sessions.check_still_valid(session.caller) for session in sessions)
        for session, problem in zip(sessions, await asyncio.gather(*checks, return_exceptions=True), strict=True):
            if isinstance(problem, InvalidToken):
                self._delivery.request_close(session, CloseCode.TOKEN_ENDED)
