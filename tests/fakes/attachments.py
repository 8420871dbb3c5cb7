"""Fakes of the attachment stores, in dictionaries. No method awaits, so each one is atomic."""

from collections.abc import Collection, Container, Sequence
from dataclasses import replace
from datetime import datetime

from vyry.attachments.attachment import Attachment, AttachmentId, AttachmentLimits, Usage
from vyry.errors import InvalidToken, Unavailable
from vyry.kernel.ids import UserId


class MemoryAttachments:
    """Ledger. `people` are the accounts that there are."""

    def __init__(self, people: Container[UserId]) -> None:
        self._people = people
        self.rows: dict[AttachmentId, tuple[UserId, Attachment]] = {}

    async def usage(self, owner: UserId, now: datetime) -> Usage:
        mine = [each for whose, each in self.rows.values() if whose == owner and each.expires_at > now]
        unfinished = sum(each.completed_at is None for each in mine)
        return Usage(len(mine), unfinished, sum(each.length for each in mine))

    async def create(self, owner: UserId, new: Attachment, terms: AttachmentLimits) -> bool:
        if owner not in self._people:
            raise InvalidToken
        before = await self.usage(owner, new.created_at)
        if (
            before.total_bytes + new.length > terms.quota_bytes
            or before.count >= terms.max_files
            or before.unfinished >= terms.max_unfinished
        ):
            return False
        self.rows[new.attachment_id] = owner, new
        return True

    async def find(self, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        _, found = self.rows.get(attachment_id, (None, None))
        return found if found and found.expires_at > now else None

    async def find_own(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        whose, _ = self.rows.get(attachment_id, (None, None))
        return await self.find(attachment_id, now) if whose == owner else None

    async def claim_writer(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        found = await self.find_own(owner, attachment_id, now)
        if found is not None:
            found = replace(found, writer=found.writer + 1)
            self.rows[attachment_id] = owner, found
        return found

    async def extend(self, longer: Attachment, now: datetime) -> bool:
        found = await self.find(longer.attachment_id, now)
        if found is None or found.writer != longer.writer or found.completed_at:
            return False
        self.rows[longer.attachment_id] = self.rows[longer.attachment_id][0], longer
        return True

    async def expire(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> bool:
        found = await self.find_own(owner, attachment_id, now)
        if found is not None:
            self.rows[attachment_id] = owner, replace(found, expires_at=now)
        return found is not None


class MemoryAttachmentUpkeep:
    """LedgerUpkeep."""

    def __init__(self, ledger: MemoryAttachments) -> None:
        self._rows = ledger.rows

    async def list_expired(self, now: datetime, limit: int) -> Sequence[AttachmentId]:
        over = sorted((each.expires_at, key) for key, (_, each) in self._rows.items() if each.expires_at <= now)
        return [key for _, key in over[:limit]]

    async def find_existing(self, ids: Collection[AttachmentId]) -> Collection[AttachmentId]:
        return self._rows.keys() & set(ids)

    async def delete(self, ids: Collection[AttachmentId]) -> None:
        for key in ids:
            self._rows.pop(key, None)


class MemoryParts:
    """PartStore. `room` is how many bytes it takes."""

    piece_bytes = 1 << 16

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.parts: dict[tuple[AttachmentId, str], bytes] = {}

    async def check_capacity(self, length: int) -> None:
        if sum(map(len, self.parts.values())) + length > self.room:
            raise Unavailable("Attachment storage is full.")

    async def put(self, attachment_id: AttachmentId, name: str, content: bytes | bytearray) -> None:
        await self.check_capacity(len(content))
        self.parts[attachment_id, name] = bytes(content)

    async def read(self, attachment_id: AttachmentId, name: str, start: int, length: int) -> bytes:
        content = self.parts.get((attachment_id, name), b"")[start : start + length]
        if len(content) != length:
            raise Unavailable("The stored attachment data is missing.")
        return content

    async def drop(self, attachment_id: AttachmentId, names: Collection[str]) -> None:
        for name in names:
            self.parts.pop((attachment_id, name), None)

    async def clear(self, attachment_id: AttachmentId, keep: Collection[str] = ()) -> None:
        mine = [name for key, name in self.parts if key == attachment_id]
        await self.drop(attachment_id, set(mine) - set(keep))

    async def list_attachments(self, after: str) -> tuple[Collection[AttachmentId], str]:
        return {key for key, _ in self.parts if str(key) > after}, ""
