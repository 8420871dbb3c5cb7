"""Deletes expired attachments, and parts without a row. Several nodes can do this at once."""

from typing import Final

from vyry.attachments.attachment import AttachmentId, AttachmentUpkeepStore, PartStore
from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.telemetry import ATTACHMENTS_CLEARED


#: How many attachments one statement reads.
_FEW: Final = 50


class AttachmentUpkeep:
    """The sweeper's tasks on attachments."""

    def __init__(self, attachments: AttachmentUpkeepStore, parts: PartStore, clock: Clock) -> None:
        self._attachments = attachments
        self._parts = parts
        self._clock = clock
        #: The cursor of the round through the part store.
        self._cursor = ""

    async def delete_expired(self, limit: int) -> int:
        """Delete expired attachments, the parts before the row. Returns how many were deleted."""
        deleted = 0
        while deleted < limit and (
            expired := await self._attachments.list_expired(self._clock.confirmed_now(), min(_FEW, limit - deleted))
        ):
            cleared = [each for each in expired if await self._clear(each)]
            if not cleared:
                raise Unavailable("The parts of attachments cannot be deleted.")
            await self._attachments.delete(cleared)
            ATTACHMENTS_CLEARED.labels("over").inc(len(cleared))
            deleted += len(cleared)
        return deleted

    async def delete_orphans(self) -> int:
        """One step of a round through the part store: delete parts without a row. A row is created before its parts, so these are of a deleted attachment."""
        stored, self._cursor = await self._parts.list_attachments(self._cursor)
        known = await self._attachments.find_existing(stored)
        orphans = [each for each in stored if each not in known]
        for each in orphans:
            await self._parts.clear(each)
        ATTACHMENTS_CLEARED.labels("stray").inc(len(orphans))
        return 0

    async def _clear(self, attachment_id: AttachmentId) -> bool:
        try:
            await self._parts.clear(attachment_id)
        except Unavailable:
            return False
        return True
