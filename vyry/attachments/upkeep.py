"""Clearing away: attachments whose time is over, and bytes of which no row knows. Several nodes at once do each other no harm."""

from typing import Final

from vyry.attachments.attachment import AttachmentId, AttachmentUpkeepStore, PartStore
from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.telemetry import ATTACHMENTS_CLEARED


#: What one statement takes.
_FEW: Final = 50


class AttachmentUpkeep:
    """What the sweeper does for attachments."""

    def __init__(self, ledger: AttachmentUpkeepStore, store: PartStore, clock: Clock) -> None:
        self._attachments = ledger
        self._store = store
        self._clock = clock
        #: How far the round through the store has come.
        self._cursor = ""

    async def delete_expired(self, limit: int) -> int:
        """Clear away what is over: bytes first, so that none are forgotten. Answers how many attachments went."""
        gone = 0
        while gone < limit and (
            over := await self._attachments.list_expired(self._clock.confirmed_now(), min(_FEW, limit - gone))
        ):
            cleared = [each for each in over if await self._clear(each)]
            if not cleared:
                raise Unavailable("The bytes of attachments cannot be removed.")
            await self._attachments.delete(cleared)
            ATTACHMENTS_CLEARED.labels("over").inc(len(cleared))
            gone += len(cleared)
        return gone

    async def delete_orphans(self) -> int:
        """One step of a round through the store: bytes without a row go. A row is there before the first of its bytes, so these are of one that is gone."""
        held, self._cursor = await self._store.list_attachments(self._cursor)
        known = await self._attachments.find_existing(held)
        strays = [each for each in held if each not in known]
        for each in strays:
            await self._store.clear(each)
        ATTACHMENTS_CLEARED.labels("stray").inc(len(strays))
        return 0

    async def _clear(self, attachment_id: AttachmentId) -> bool:
        try:
            await self._store.clear(attachment_id)
        except Unavailable:
            return False
        return True
