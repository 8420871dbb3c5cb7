"""What people do with attachments: begin, add, look, end, fetch. Whoever knows the id of a whole one and is signed in may fetch it."""

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
    PartStore,
    Usage,
)
from vyry.attachments.slots import SMALL_BYTES, Slot, Slots
from vyry.attachments.upload import Incoming, Upload, check_append
from vyry.clock import Clock
from vyry.errors import NotFound, PayloadTooLarge, RateLimited
from vyry.kernel.ids import UserId, new_id
from vyry.limits import UPLOAD, UPLOAD_BYTES, Grant, Limiter, Quota


#: At once, of a process and of one account, and of the first so many for small ones: an upload holds up to two parts in memory, a download a piece.
UPLOADS: Final = (64, 8, 16)
DOWNLOADS: Final = (256, 16, 64)
#: When to come back with too many unfinished uploads.
UNFINISHED_RETRY_SECONDS: Final = 3600


def _stay() -> None:
    """There is no connection to cut."""


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """A new attachment, and what the limits leave."""

    attachment: Attachment
    grants: Sequence[tuple[str, Grant]]


class Attachments:
    """The attachments of this node. What is not the caller's answers NotFound to all but fetching."""

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
        self._uploads = _slots(*UPLOADS)
        self._downloads = _slots(*DOWNLOADS)

    @property
    def max_bytes(self) -> int:
        """The longest attachment that there may be."""
        return self._limits.max_bytes

    async def create(self, caller: Caller, length: int) -> NewAttachment:
        """Room for a new attachment of this length.

        Raises:
            PayloadTooLarge: longer than any may be, or than what is left of the account's quota.
            RateLimited: too many, too much in a day, or too many unfinished.
            Unavailable: the store is full.
        """
        terms = self._limits
        if length > terms.max_bytes:
            raise PayloadTooLarge(f"An attachment has at most {terms.max_bytes} bytes.")
        now = self._clock.now()
        # Looked at before the limits, which would count what is refused here.
        self._check(await self._attachments.usage(caller.user_id, now), length)
        await self._parts.check_capacity(length)
        taken = [
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
        return NewAttachment(new, taken)

    async def load_own(self, owner: UserId, attachment_id: AttachmentId) -> Attachment:
        """How far an own one is."""
        found = await self._attachments.find_own(owner, attachment_id, self._clock.confirmed_now())
        if found is None:
            raise NotFound
        return found

    async def append(
        self, owner: UserId, attachment_id: AttachmentId, incoming: Incoming, cut: Callable[[], None] = _stay
    ) -> Attachment:
        """Add to an own one; what is answered is safe. `cut` breaks the content off, if it has to give way to another.

        Raises what `begun` and `Upload.take` do; RateLimited and Unavailable for too many at once.
        """
        # What does not say how much it is counts as large.
        length = SMALL_BYTES + 1 if incoming.announced is None else incoming.announced
        with self._uploads.acquire(owner, length, cut) as slot:
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
        """An own one is there for nobody from now on."""
        if not await self._attachments.expire(owner, attachment_id, self._clock.confirmed_now()):
            raise NotFound

    async def load_complete(self, attachment_id: AttachmentId) -> Attachment:
        """A whole one, anybody's."""
        found = await self._attachments.find(attachment_id, self._clock.confirmed_now())
        if found is None or found.completed_at is None:
            raise NotFound
        return found

    async def read(
        self, reader: UserId, found: Attachment, start: int, length: int, cut: Callable[[], None] = _stay
    ) -> AsyncGenerator[bytes, None]:
        """So many of its bytes, in pieces that are small. `cut` is called if the reader has to give way to another.

        Raises Unavailable when they are out of reach; RateLimited and Unavailable for too many at once.
        """
        with self._downloads.acquire(reader, length, cut) as slot:
            store, end, at = self._parts, start + length, 0
            for part in found.parts:
                first, last = max(start - at, 0), min(end - at, part.length)
                for place in range(first, last, store.piece_bytes):
                    wanted = min(store.piece_bytes, last - place)
                    yield await store.read(found.attachment_id, part.name, place, wanted)
                    slot.count(wanted)
                at += part.length

    def _check(self, usage: Usage, length: int) -> None:
        terms = self._limits
        if usage.unfinished >= terms.max_unfinished:
            raise RateLimited(UNFINISHED_RETRY_SECONDS, "Finish or end some of your uploads first.")
        if usage.total_bytes + length > terms.quota_bytes or usage.count >= terms.max_files:
            raise self._too_much(usage)

    def _too_much(self, usage: Usage) -> PayloadTooLarge:
        members = {"quotaBytes": self._limits.quota_bytes, "usedBytes": usage.total_bytes}
        return PayloadTooLarge("Your attachments would take more room than you have.", **members)


def _slots(total: int, each: int, reserved: int) -> Slots:
    return Slots(total, each, reserved=reserved)


async def _counted(content: AsyncIterator[bytes], slot: Slot) -> AsyncIterator[bytes]:
    async for piece in content:
        slot.count(len(piece))
        yield piece


def _costs(length: int) -> tuple[tuple[Quota, int], ...]:
    return (UPLOAD, 1), (UPLOAD_BYTES, max(1, length))
