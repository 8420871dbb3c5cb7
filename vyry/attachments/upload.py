"""One writer of an attachment: takes bytes as they come, keeps them as parts, and enters in the ledger what is safe.

Theory of the sizes: bytes gather until they fill a part. What is left at the end of a request becomes a smaller part, which takes up the parts before it as
long as they are at most twice its size. So however small the requests are, small parts stay few (each is less than half of the one before), and each byte is
written again some twenty times at most.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from typing import Final

from vyry.attachments.attachment import Attachment, AttachmentLimits, AttachmentStore, Part, PartStore
from vyry.clock import Clock
from vyry.errors import ChecksumMismatch, InvalidRequest, NotFound, OffsetMismatch, PayloadTooLarge, Unavailable


#: Names of algorithms as on the wire, which are those of hashlib.
ALGORITHMS: Final = ("sha1", "sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must hash to. It guards against faults of the way; sha1 is the one that every tus server must know."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes on their way to their place in an attachment; `announced` says how many, if that is known.

    The content raises InvalidRequest when it breaks off: what came before is kept, unless it was to be held against a checksum.
    """

    offset: int
    content: AsyncIterator[bytes]
    announced: int | None = None
    checksum: Checksum | None = None


class Upload:
    """Adds to one attachment. Parts with a checksum are entered all together at the end."""

    def __init__(
        self,
        attachment: Attachment,
        checksum: Checksum | None,
        *,
        attachments: AttachmentStore,
        parts: PartStore,
        limits: AttachmentLimits,
        clock: Clock,
        part_bytes: int,
    ) -> None:
        self.attachment = attachment
        self._attachments = attachments
        self._store = parts
        self._limits = limits
        self._clock = clock
        self._part_bytes = part_bytes
        self._checksum = checksum
        self._hash = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        self._parts = list(attachment.parts)
        self._gathered = bytearray()
        self._new_parts: list[str] = []
        self._count = 0

    async def receive(self, incoming: Incoming) -> Attachment:
        """Take all of it; answers the attachment as it is then.

        Raises:
            PayloadTooLarge: more came than was announced when the attachment was begun.
            ChecksumMismatch: nothing of this was kept.
            OffsetMismatch: somebody else has begun to write meanwhile.
        """
        try:
            async for piece in incoming.content:
                await self._gather(piece)
        except InvalidRequest:
            await self._break_off()
            raise
        except (PayloadTooLarge, Unavailable):
            await self._drop(self._new_parts)
            raise
        await self._check()
        await self._finish()
        return self.attachment

    async def _gather(self, piece: bytes) -> None:
        room = self.attachment.length - sum(part.length for part in self._parts) - len(self._gathered)
        if len(piece) > room:
            raise PayloadTooLarge("This is more than was announced.")
        if self._hash is not None:
            self._hash.update(piece)
        self._gathered += piece
        size = self._part_bytes
        while len(self._gathered) >= size:
            full, self._gathered = self._gathered[:size], self._gathered[size:]
            await self._write_part(full)
            if self._checksum is None:
                await self._record_parts()

    async def _finish(self) -> None:
        """Keep the rest, too."""
        rest, self._gathered = self._gathered, bytearray()
        if rest:
            await self._write_part(rest)
        await self._record_parts()

    async def _write_part(self, content: bytes | bytearray) -> None:
        """Keep this as one part, together with smaller ones before it."""
        while self._parts and self._parts[-1].length <= min(2 * len(content), self._part_bytes - len(content)):
            last = self._parts.pop()
            content = await self._read(last) + content
        name = f"{self.attachment.writer}-{self._count}"
        self._count += 1
        await self._store.put(self.attachment.attachment_id, name, content)
        self._new_parts.append(name)
        self._parts.append(Part(name, len(content)))

    async def _read(self, part: Part) -> bytes:
        return await self._store.read(self.attachment.attachment_id, part.name, 0, part.length)

    async def _record_parts(self) -> None:
        """Put down in the ledger what is safe now."""
        now, terms = self._clock.now(), self._limits
        longer = replace(self.attachment, parts=tuple(self._parts), expires_at=now + terms.unfinished_lifetime)
        if longer.received == longer.length:
            longer = replace(longer, completed_at=now, expires_at=now + terms.lifetime)
        if longer.parts == self.attachment.parts:
            return
        # Should this stay without an answer, what was made stays too: it may count.
        made, self._new_parts = self._new_parts, []
        if not await self._attachments.extend(longer, self._clock.confirmed_now()):
            await self._drop(made)
            raise OffsetMismatch
        before, self.attachment = self.attachment, longer
        await self._delete_obsolete(before)

    async def _delete_obsolete(self, before: Attachment) -> None:
        """Remove what counts no more. What cannot be removed now goes with the attachment."""
        keep = {part.name for part in self.attachment.parts}
        try:
            if self.attachment.completed_at:
                await self._store.clear(self.attachment.attachment_id, keep)
            elif old := {part.name for part in before.parts} - keep:
                await self._store.drop(self.attachment.attachment_id, old)
        except Unavailable:
            return

    async def _check(self) -> None:
        checksum = self._checksum
        if (
            self._hash is not None
            and checksum is not None
            and not hmac.compare_digest(self._hash.digest(), checksum.digest)
        ):
            await self._drop(self._new_parts)
            raise ChecksumMismatch

    async def _break_off(self) -> None:
        """The client is gone: what is half-checked is nothing, the rest is kept."""
        if self._checksum is None:
            await self._finish()
        else:
            await self._drop(self._new_parts)

    async def _drop(self, made: Collection[str]) -> None:
        """Remove parts that never counted."""
        try:
            await self._store.drop(self.attachment.attachment_id, made)
        except Unavailable:
            # They go with the attachment.
            return


def check_append(found: Attachment | None, incoming: Incoming) -> Attachment:
    """The attachment to which this may be added.

    Raises:
        NotFound: there is none.
        OffsetMismatch: it is to be added elsewhere than at the end.
        PayloadTooLarge: it is longer than what is missing.
    """
    if found is None:
        raise NotFound
    if incoming.offset != found.received:
        raise OffsetMismatch
    if (incoming.announced or 0) > found.length - found.received:
        raise PayloadTooLarge("This is more than was announced.")
    return found
