"""One writer of an attachment: buffers bytes, stores them as parts, and records the durable parts in the row.

Theory of the sizes: bytes are buffered until they fill a part. The rest at the end of a request becomes a smaller part, merged with the parts before it
while they are at most twice its size. So even with small requests there are few small parts (each less than half of the one before), and a byte is
rewritten about twenty times at most.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from typing import Final

from vyry.attachments.attachment import Attachment, AttachmentLimits, AttachmentStore, Part, PartStore
from vyry.clock import Clock
from vyry.errors import ChecksumMismatch, InvalidRequest, NotFound, OffsetMismatch, PayloadTooLarge, Unavailable


#: The algorithms, named as on the wire and in hashlib.
ALGORITHMS: Final = ("sha1", "sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The expected hash of the bytes of one request, against transmission errors. Every tus server has to support sha1."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """The content of one request, for `offset` of an attachment; `announced` is its length, if known.

    Iterating the content raises InvalidRequest if it is interrupted: the bytes before are kept, unless there is a checksum.
    """

    offset: int
    content: AsyncIterator[bytes]
    announced: int | None = None
    checksum: Checksum | None = None


class Upload:
    """Appends to one attachment. With a checksum, the parts are recorded at the end, all at once."""

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
        self._buffer = bytearray()
        self._new_parts: list[str] = []
        self._count = 0

    async def receive(self, incoming: Incoming) -> Attachment:
        """Store the content; returns the attachment after it.

        Raises:
            PayloadTooLarge: the content exceeds the length of the attachment.
            ChecksumMismatch: nothing of the request was kept.
            OffsetMismatch: another writer has started meanwhile.
        """
        try:
            async for piece in incoming.content:
                await self._add(piece)
        except InvalidRequest:
            await self._break_off()
            raise
        except (PayloadTooLarge, Unavailable):
            await self._drop(self._new_parts)
            raise
        await self._check()
        await self._finish()
        return self.attachment

    async def _add(self, piece: bytes) -> None:
        missing = self.attachment.length - sum(part.length for part in self._parts) - len(self._buffer)
        if len(piece) > missing:
            raise PayloadTooLarge("The content exceeds the announced length.")
        if self._hash is not None:
            self._hash.update(piece)
        self._buffer += piece
        size = self._part_bytes
        while len(self._buffer) >= size:
            full, self._buffer = self._buffer[:size], self._buffer[size:]
            await self._write_part(full)
            if self._checksum is None:
                await self._record_parts()

    async def _finish(self) -> None:
        """Store the rest of the buffer."""
        rest, self._buffer = self._buffer, bytearray()
        if rest:
            await self._write_part(rest)
        await self._record_parts()

    async def _write_part(self, content: bytes | bytearray) -> None:
        """Write a part, merged with smaller ones before it."""
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
        """Record the durable parts in the row."""
        now, terms = self._clock.now(), self._limits
        longer = replace(self.attachment, parts=tuple(self._parts), expires_at=now + terms.unfinished_lifetime)
        if longer.received == longer.length:
            longer = replace(longer, completed_at=now, expires_at=now + terms.lifetime)
        if longer.parts == self.attachment.parts:
            return
        # If the outcome stays unknown, the new parts stay: they may count.
        made, self._new_parts = self._new_parts, []
        if not await self._attachments.extend(longer, self._clock.confirmed_now()):
            await self._drop(made)
            raise OffsetMismatch
        before, self.attachment = self.attachment, longer
        await self._delete_obsolete(before)

    async def _delete_obsolete(self, before: Attachment) -> None:
        """Delete parts that no longer count. Those that cannot be deleted now are deleted with the attachment."""
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
        """The content was interrupted: keep the bytes, unless there is a checksum."""
        if self._checksum is None:
            await self._finish()
        else:
            await self._drop(self._new_parts)

    async def _drop(self, made: Collection[str]) -> None:
        """Delete parts that never counted."""
        try:
            await self._store.drop(self.attachment.attachment_id, made)
        except Unavailable:
            # They are deleted with the attachment.
            return


def check_append(found: Attachment | None, incoming: Incoming) -> Attachment:
    """Check that the content can be appended; returns the attachment.

    Raises:
        NotFound: there is no such attachment.
        OffsetMismatch: the offset is not the end of the received bytes.
        PayloadTooLarge: the content is longer than the missing bytes.
    """
    if found is None:
        raise NotFound
    if incoming.offset != found.received:
        raise OffsetMismatch
    if (incoming.announced or 0) > found.length - found.received:
        raise PayloadTooLarge("The content exceeds the announced length.")
    return found
