"""Clearing away: attachments whose time is over, and bytes of which no row knows. Several nodes at once do each other no harm."""

from typing import Final

from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.files.attachments import AttachmentId, LedgerUpkeep, PartStore
from vyry.telemetry import ATTACHMENTS_CLEARED


#: What one statement takes.
_FEW: Final = 50


class AttachmentUpkeep:
    """What the sweeper does for attachments."""

    def __init__(self, ledger: LedgerUpkeep, store: PartStore, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock
        #: How far the round through the store has come.
        self._place = ""

    async def expire(self, limit: int) -> int:
        """Clear away what is over: bytes first, so that none are forgotten. Answers how many attachments went."""
        gone = 0
        while gone < limit and (over := await self._ledger.over(self._clock.confirmed(), min(_FEW, limit - gone))):
            cleared = [each for each in over if await self._cleared(each)]
            if not cleared:
                raise Unavailable("The bytes of attachments cannot be removed.")
            await self._ledger.forget(cleared)
            ATTACHMENTS_CLEARED.labels("over").inc(len(cleared))
            gone += len(cleared)
        return gone

    async def look_for_strays(self) -> int:
        """One step of a round through the store: bytes without a row go. A row is there before the first of its bytes, so these are of one that is gone."""
        held, self._place = await self._store.held(self._place)
        known = await self._ledger.known(held)
        strays = [each for each in held if each not in known]
        for each in strays:
            await self._store.clear(each)
        ATTACHMENTS_CLEARED.labels("stray").inc(len(strays))
        return 0

    async def _cleared(self, attachment_id: AttachmentId) -> bool:
        try:
            await self._store.clear(attachment_id)
        except Unavailable:
            return False
        return True
