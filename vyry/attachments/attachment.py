"""What an attachment is, and what the node asks of the two that keep it: a ledger (the database) and a store of parts (a disk, or S3).

Theory: the bytes lie in the store as *parts*, each written once under a name that is never used again; the row in the ledger names the parts that count.
A part is safe before its row names it, and a row goes only when its parts are gone. So after a crash at any point nothing that was promised is missing, and
what lies about is found by its attachment. Who begins to write raises the row's `writer`; what a writer before adds after that does not count. That holds
over all nodes without a lock, and an upload that hangs somewhere never stands in the way of the same upload tried again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType, Protocol
from uuid import UUID

from vyry.kernel.ids import UserId


AttachmentId = NewType("AttachmentId", UUID)

MIB: Final = 1 << 20
#: The largest part, and so what an upload keeps in memory.
PART_BYTES: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes in the store."""

    name: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file, whole or on its way. Its parts follow one another; `writer` counts those who began to add to it."""

    attachment_id: AttachmentId
    length: int
    created_at: datetime
    expires_at: datetime
    completed_at: datetime | None = None
    parts: tuple[Part, ...] = ()
    writer: int = 0

    @property
    def received(self) -> int:
        """How much of it is safe."""
        return sum(part.length for part in self.parts)


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """How much an account may keep, and for how long."""

    max_bytes: int = 100 * MIB
    quota_bytes: int = 1024 * MIB
    lifetime: timedelta = timedelta(days=30)
    #: An upload to which nothing was added for so long is given up.
    unfinished_lifetime: timedelta = timedelta(days=1)
    max_unfinished: int = 100
    max_files: int = 10_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account keeps now, by announced lengths."""

    count: int
    unfinished: int
    #: Of all of them together.
    total_bytes: int


class AttachmentStore(Protocol):
    """Where the attachments stand. What is past its `expires_at` is not there for anybody."""

    async def usage(self, owner: UserId, now: datetime) -> Usage:
        """What this account keeps."""
        ...

    async def create(self, owner: UserId, new: Attachment, terms: AttachmentLimits) -> bool:
        """Enter a new one, unless the account would then keep more than the terms allow; however many ask at once, it never does.

        Raises InvalidToken when the account is no more.
        """
        ...

    async def find(self, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """Anybody's."""
        ...

    async def find_own(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """One of this account's."""
        ...

    async def claim_writer(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        """One of this account's, of which the caller is the only writer from now on."""
        ...

    async def extend(self, longer: Attachment, now: datetime) -> bool:
        """Enter parts and times of this one. False, and nothing changes, when there is a later writer or it is there no more."""
        ...

    async def expire(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> bool:
        """Have it expire at once. False when the account has no such one."""
        ...


class AttachmentUpkeepStore(Protocol):
    """What the sweeper asks of the ledger."""

    async def list_expired(self, now: datetime, limit: int) -> Sequence[AttachmentId]:
        """Some whose time is over, longest over first."""
        ...

    async def find_existing(self, ids: Collection[AttachmentId]) -> Collection[AttachmentId]:
        """Those of these that have a row."""
        ...

    async def delete(self, ids: Collection[AttachmentId]) -> None:
        """Delete the rows of these: their parts are gone."""
        ...


class PartStore(Protocol):
    """Where the bytes lie. Raises Unavailable whenever it cannot do what it is asked for."""

    #: How much is best read at once.
    piece_bytes: int

    async def check_capacity(self, length: int) -> None:
        """Raises Unavailable when it has no room for so many bytes more."""
        ...

    async def put(self, attachment_id: AttachmentId, name: str, content: bytes | bytearray) -> None:
        """Keep a part, whole or not at all. Once this is done it outlives a power cut."""
        ...

    async def read(self, attachment_id: AttachmentId, name: str, start: int, length: int) -> bytes:
        """So many bytes of a part."""
        ...

    async def drop(self, attachment_id: AttachmentId, names: Collection[str]) -> None:
        """Remove these parts of it, as far as they are there."""
        ...

    async def clear(self, attachment_id: AttachmentId, keep: Collection[str] = ()) -> None:
        """Remove all of its parts but these, half-written ones too."""
        ...

    async def list_attachments(self, after: str) -> tuple[Collection[AttachmentId], str]:
        """Some attachments of which there are parts, and the place behind them: "" at the end. It begins at "", and goes round in bounded steps."""
        ...
