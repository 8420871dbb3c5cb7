"""The operations on attachments: create, append, status, expire, download, and deletion by the sweeper. Every account that knows the id of a complete one can download it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vyry.accounts.account import Caller
from vyry.attachments.attachment import (
    PART_BYTES,
    Attachment,
    AttachmentId,
    AttachmentLimits,
    AttachmentStore,
    AttachmentUpkeepStore,
    PartStore,
    Usage,
)
from vyry.attachments.slots import SMALL_BYTES, Slot, Slots
from vyry.attachments.upload import Incoming, Upload, check_append
from vyry.clock import Clock
from vyry.errors import NotFound, PayloadTooLarge, RateLimited, Unavailable
from vyry.kernel.ids import UserId, new_id
from vyry.limits import UPLOAD, UPLOAD_BYTES, Grant, Limiter, Quota
from vyry.telemetry import ATTACHMENTS_CLEARED


#: The Retry-After for too many unfinished uploads.
UNFINISHED_RETRY_SECONDS: Final = 3600
#: How many attachments one statement reads.
_FEW: Final = 50


def _stay() -> None:
    """Do nothing: there is no connection to cut."""


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """A new attachment, and the remaining quotas."""

    attachment: Attachment
    grants: Sequence[tuple[str, Grant]]


class Attachments:
    """The attachments of this node. Attachments of other accounts are NotFound, except for downloads."""

    def __init__(
        self,
        attachments: AttachmentStore,
        parts: PartStore,
        *,
        limits: AttachmentLimits,
        limiter: Limiter,
        clock: Clock,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._attachments = attachments
        self._parts = parts
        self._limits = limits
        self._limiter = limiter
        self._clock = clock
        self._part_bytes = part_bytes
        # An upload buffers up to two parts, a download a piece.
        self.uploads = Slots(total=64, each=8, reserved=16)
        self.downloads = Slots(total=256, each=16, reserved=64)

    @property
    def max_bytes(self) -> int:
        """The largest allowed attachment."""
        return self._limits.max_bytes

    async def create(self, caller: Caller, length: int) -> NewAttachment:
        """Create an attachment of this length.

        Raises:
            PayloadTooLarge: it exceeds the maximum, or the storage quota of the account.
            RateLimited: too many attachments or bytes in a day, or too many unfinished uploads.
            Unavailable: the store is full.
        """
        terms = self._limits
        if length > terms.max_bytes:
            raise PayloadTooLarge(f"An attachment has at most {terms.max_bytes} bytes.")
        now = self._clock.now()
        # Checked before the rate limits: a refusal here is not charged.
        self._check(await self._attachments.usage(caller.user_id, now), length)
        await self._parts.check_capacity(length)
        grants = [
            (quota.name, await self._limiter.consume(quota, str(caller.user_id), cost))
            for quota, cost in _costs(length)
        ]
        new = Attachment(
            attachment_id=AttachmentId(new_id()),
            length=length,
            created_at=now,
            completed_at=None if length else now,
            expires_at=now + (terms.unfinished_lifetime if length else terms.lifetime),
        )
        if not await self._attachments.create(caller.user_id, new, terms):
            raise self._too_much(await self._attachments.usage(caller.user_id, now))
        return NewAttachment(new, grants)

    async def load_own(self, owner: UserId, attachment_id: AttachmentId) -> Attachment:
        """An attachment of this account. Raises NotFound."""
        found = await self._attachments.find_own(owner, attachment_id, self._clock.confirmed_now())
        if found is None:
            raise NotFound
        return found

    async def append(
        self, owner: UserId, attachment_id: AttachmentId, incoming: Incoming, cut: Callable[[], None] = _stay
    ) -> Attachment:
        """Append to an attachment of this account; the bytes counted in the result are durable. `cut` is called if another transfer gets the slot.

        Raises what `check_append` and `Upload.receive` raise; RateLimited and Unavailable for too many transfers at once.
        """
        # Content of unknown length counts as large.
        length = SMALL_BYTES + 1 if incoming.announced is None else incoming.announced
        with self.uploads.acquire(owner, length, cut) as slot:
            incoming = replace(incoming, content=_counted(incoming.content, slot))
            moment = self._clock.confirmed_now()
            check_append(await self._attachments.find_own(owner, attachment_id, moment), incoming)
            taken_up = check_append(await self._attachments.claim_writer(owner, attachment_id, moment), incoming)
            upload = Upload(
                taken_up,
                incoming.checksum,
                attachments=self._attachments,
                parts=self._parts,
                limits=self._limits,
                clock=self._clock,
                part_bytes=self._part_bytes,
            )
            return await upload.receive(incoming)

    async def expire(self, owner: UserId, attachment_id: AttachmentId) -> None:
        """Expire an attachment of this account. Raises NotFound."""
        if not await self._attachments.expire(owner, attachment_id, self._clock.confirmed_now()):
            raise NotFound

    async def load_complete(self, attachment_id: AttachmentId) -> Attachment:
        """A complete attachment of any account. Raises NotFound."""
        found = await self._attachments.find(attachment_id, self._clock.confirmed_now())
        if found is None or found.completed_at is None:
            raise NotFound
        return found

    async def read(
        self, reader: UserId, found: Attachment, start: int, length: int, cut: Callable[[], None] = _stay
    ) -> AsyncGenerator[bytes, None]:
        """Read `length` bytes in small pieces. `cut` is called if another transfer gets the slot.

        Raises Unavailable if the store fails; RateLimited and Unavailable for too many transfers at once.
        """
        with self.downloads.acquire(reader, length, cut) as slot:
            store, end, at = self._parts, start + length, 0
            for part in found.parts:
                first, last = max(start - at, 0), min(end - at, part.length)
                for offset in range(first, last, store.piece_bytes):
                    wanted = min(store.piece_bytes, last - offset)
                    yield await store.read(found.attachment_id, part.name, offset, wanted)
                    slot.count(wanted)
                at += part.length

    def _check(self, usage: Usage, length: int) -> None:
        terms = self._limits
        if usage.unfinished >= terms.max_unfinished:
            raise RateLimited(UNFINISHED_RETRY_SECONDS, "Too many unfinished uploads: finish or delete some first.")
        if usage.total_bytes + length > terms.quota_bytes or usage.count >= terms.max_files:
            raise self._too_much(usage)

    def _too_much(self, usage: Usage) -> PayloadTooLarge:
        members = {"quotaBytes": self._limits.quota_bytes, "usedBytes": usage.total_bytes}
        return PayloadTooLarge("This attachment would exceed your storage quota.", **members)


async def _counted(content: AsyncIterator[bytes], slot: Slot) -> AsyncIterator[bytes]:
    async for piece in content:
        slot.count(len(piece))
        yield piece


def _costs(length: int) -> tuple[tuple[Quota, int], ...]:
    return (UPLOAD, 1), (UPLOAD_BYTES, max(1, length))


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
