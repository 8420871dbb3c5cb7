"""A harness for uploads: stores in memory, a fake clock, and limits."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

from tests.fakes.attachments import MemoryAttachments, MemoryAttachmentUpkeep, MemoryParts
from tests.support.fake_clock import FakeClock
from vyry.accounts.account import Caller
from vyry.attachments.attachment import PART_BYTES, Attachment, AttachmentId, AttachmentLimits
from vyry.attachments.service import Attachments, AttachmentUpkeep
from vyry.attachments.upload import Checksum, Incoming
from vyry.errors import InvalidRequest
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId, new_id


TERMS = AttachmentLimits(max_bytes=10 << 20, quota_bytes=20 << 20, max_unfinished=5)


class AttachmentHarness:
    """The attachments of one node, of which there can be several over one ledger and one store."""

    def __init__(
        self, beside: "AttachmentHarness | None" = None, terms: AttachmentLimits = TERMS, part_bytes: int = PART_BYTES
    ) -> None:
        self.clock: FakeClock = beside.clock if beside else FakeClock()
        self.ann: Caller = beside.ann if beside else self._caller()
        self.bo: Caller = beside.bo if beside else self._caller()
        people = {self.ann.user_id, self.bo.user_id}
        self.ledger: MemoryAttachments = beside.ledger if beside else MemoryAttachments(people)
        self.store: MemoryParts = beside.store if beside else MemoryParts()
        self.limits = terms
        self.attachments = Attachments(
            self.ledger, self.store, limits=terms, limiter=InProcessLimiter(), clock=self.clock, part_bytes=part_bytes
        )
        self.upkeep = AttachmentUpkeep(MemoryAttachmentUpkeep(self.ledger), self.store, self.clock)

    async def begin(self, length: int) -> AttachmentId:
        """A new attachment of Ann's."""
        return (await self.attachments.create(self.ann, length)).attachment.attachment_id

    async def add(self, one: AttachmentId, incoming: Incoming) -> Attachment:
        """What Ann adds."""
        return await self.attachments.append(self.ann.user_id, one, incoming)

    async def content(self, one: AttachmentId, start: int = 0, length: int | None = None) -> bytes:
        """What Bo fetches."""
        found = await self.attachments.load_complete(one)
        wanted = found.length if length is None else length
        return b"".join([piece async for piece in self.attachments.read(self.bo.user_id, found, start, wanted)])

    def _caller(self) -> Caller:
        return Caller(
            UserId(new_id()),
            DeviceId(1),
            uuid4(),
            MailboxKey(1),
            MailboxId(new_id()),
            is_primary=True,
            expires_at=self.clock.now() + timedelta(days=9),
        )


def make_incoming(offset: int, content: bytes, *sizes: int) -> Incoming:
    """These bytes, in pieces of these sizes and the rest."""
    cuts = [0, *sizes, len(content)]
    return Incoming(offset, _iterate_pieces([content[start:end] for start, end in pairwise(cuts)]), len(content))


def broken_incoming(offset: int, *pieces: bytes) -> Incoming:
    """These pieces, and then the connection breaks."""
    return Incoming(offset, _iterate_then_fail(pieces))


def with_checksum(those: Incoming, content: bytes) -> Incoming:
    """Them, to be held against this content."""
    return replace(those, checksum=Checksum("sha256", hashlib.sha256(content).digest()))


async def _iterate_pieces(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _iterate_then_fail(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    raise InvalidRequest("It broke off.")
