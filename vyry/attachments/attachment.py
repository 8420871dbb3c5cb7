"""Attachments as values, and their two stores: rows in the database, and parts (the bytes) on a disk or in S3.

Theory: a *part* is written once, under a name that is never reused; the row lists the parts that count. A part is durable before the row lists it, and
a row is deleted after its parts. So after a crash at any point no acknowledged byte is missing, and leftover parts can be found by their attachment.
A new writer raises the `writer` of the row, and parts of an earlier writer no longer count. This works on all nodes without a lock, and an upload that
hangs does not block its own retry.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType, Protocol
from uuid import UUID

from vyry.kernel.ids import UserId


AttachmentId = NewType("AttachmentId", UUID)

MIB: Final = 1 << 20
#: The size of the largest part; an upload buffers as much in memory.
PART_BYTES: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class Part:
    """A part: its name in the store and its length."""

    name: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An attachment, complete or not. Its parts are in order; `writer` counts its writers."""

    attachment_id: AttachmentId
    length: int
    created_at: datetime
    expires_at: datetime
    completed_at: datetime | None = None
    parts: tuple[Part, ...] = ()
    writer: int = 0

    @property
    def received(self) -> int:
        """How many bytes are durable."""
        return sum(part.length for part in self.parts)


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """How much an account may store, and for how long."""

    max_bytes: int = 100 * MIB
    quota_bytes: int = 1024 * MIB
    lifetime: timedelta = timedelta(days=30)
    #: An upload without progress for so long expires.
    unfinished_lifetime: timedelta = timedelta(days=1)
    max_unfinished: int = 100
    max_files: int = 10_000


@dataclass(frozen=True, slots=True)
class Usage:
    """The attachments of an account, by their announced lengths."""

    count: int
    unfinished: int
    #: Of all of them.
    total_bytes: int


class AttachmentStore(Protocol):
    """Stores the rows of attachments. An attachment past its `expires_at` is not found."""

    async def usage(self, owner: UserId, now: datetime) -> Usage:
        """The usage of this account."""
        ...

    async def create(self, owner: UserId, new: Attachment, terms: AttachmentLimits) -> bool:
        """Create an attachment; False if the account would exceed the limits, also with concurrent calls.

        Raises InvalidToken if the account has been deleted.
        """
        ...

    async def find(self, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """Find an attachment of any account."""
        ...

    async def find_own(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """Find an attachment of this account."""
        ...

    async def claim_writer(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """Find an attachment of this account and raise its `writer`: earlier writers can no longer extend it."""
        ...

    async def extend(self, longer: Attachment, now: datetime) -> bool:
        """Save its parts and times. False, without a change, if there is a later writer or it is gone."""
        ...

    async def expire(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> bool:
        """Expire it now. False if the account has no such attachment."""
        ...


class AttachmentUpkeepStore(Protocol):
    """The rows, for the sweeper."""

    async def list_expired(self, now: datetime, limit: int) -> Sequence[AttachmentId]:
        """At most `limit` expired attachments, the oldest first."""
        ...

    async def find_existing(self, ids: Collection[AttachmentId]) -> Collection[AttachmentId]:
        """The ids among these that have a row."""
        ...

    async def delete(self, ids: Collection[AttachmentId]) -> None:
        """Delete the rows of these, whose parts have been deleted."""
        ...


class PartStore(Protocol):
    """Stores parts. Every method raises Unavailable if it fails."""

    #: The preferred size of one read.
    piece_bytes: int

    async def check_capacity(self, length: int) -> None:
        """Raises Unavailable without capacity for so many more bytes."""
        ...

    async def put(self, attachment_id: AttachmentId, name: str, content: bytes | bytearray) -> None:
        """Write a part, atomically. When this returns, it survives a power failure."""
        ...

    async def read(self, attachment_id: AttachmentId, name: str, start: int, length: int) -> bytes:
        """Read `length` bytes of a part."""
        ...

    async def drop(self, attachment_id: AttachmentId, names: Collection[str]) -> None:
        """Delete these parts, as far as they exist."""
        ...

    async def clear(self, attachment_id: AttachmentId, keep: Collection[str] = ()) -> None:
        """Delete all other parts, incomplete ones included."""
        ...

    async def list_attachments(self, after: str) -> tuple[Collection[AttachmentId], str]:
        """A bounded number of attachments with parts, and the next cursor. A round starts with the cursor "" and ends with it."""
        ...
