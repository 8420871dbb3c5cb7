"""Attachments in the database: state, quota, and the names of their parts in the attachment store."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.queryset import QuerySet

from vyry.attachments.attachment import Attachment, AttachmentId, AttachmentLimits, Part, Usage
from vyry.errors import InvalidToken
from vyry.kernel.ids import UserId
from vyry.storage.conversation_models import AttachmentRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.locks import lock_account
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid


_USAGE: Final = """
    SELECT count(*) AS files, count(*) - count(completed_at) AS unfinished, coalesce(sum(length), 0) AS length
    FROM attachment WHERE account_id = $1 AND expires_at > $2"""
_CLAIM_WRITER: Final = """
    UPDATE attachment SET writer = writer + 1 WHERE id = $1 AND expires_at > $2 AND account_id = $3 RETURNING *"""
_LIST: Final = "SELECT id, parts FROM attachment WHERE id > $1 ORDER BY id LIMIT $2"


class TortoiseAttachments:
    """AttachmentStore on PostgreSQL or SQLite."""

    async def usage(self, owner: UserId, now: datetime) -> Usage:
        async with database_guard():
            return await _usage(connection(), owner, now)

    async def create(self, owner: UserId, new: Attachment, terms: AttachmentLimits) -> bool:
        async with transaction() as tx:
            if await lock_account(tx, owner) is None:
                raise InvalidToken
            before = await _usage(tx, owner, new.created_at)
            if (
                before.total_bytes + new.length > terms.quota_bytes
                or before.count >= terms.max_files
                or before.unfinished >= terms.max_unfinished
            ):
                return False
            row = AttachmentRow(
                id=new.attachment_id,
                account_id=owner,
                length=new.length,
                created_at=new.created_at,
                completed_at=new.completed_at,
                expires_at=new.expires_at,
            )
            await row.save(force_create=True, using_db=tx)
            return True

    async def find(self, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        async with database_guard():
            return _first(await AttachmentRow.filter(id=attachment_id, expires_at__gt=now).values())

    async def find_own(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        async with database_guard():
            return _first(await _own(owner, attachment_id, now).values())

    async def claim_writer(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        async with database_guard():
            return _first(await fetch(connection(), _CLAIM_WRITER, attachment_id, now, owner))

    async def extend(self, longer: Attachment, now: datetime) -> bool:
        unfinished = AttachmentRow.filter(
            id=longer.attachment_id,
            writer=longer.writer,
            expires_at__gt=now,
            completed_at__isnull=True,
            account_id__isnull=False,
        )
        async with database_guard():
            return bool(
                await unfinished.update(
                    parts=_format_parts(longer.parts),
                    received=longer.received,
                    completed_at=longer.completed_at,
                    expires_at=longer.expires_at,
                )
            )

    async def expire(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> bool:
        async with database_guard():
            return bool(await _own(owner, attachment_id, now).update(expires_at=now))


class TortoiseAttachmentUpkeep:
    """AttachmentUpkeepStore on PostgreSQL or SQLite."""

    async def list_expired(self, now: datetime, limit: int) -> Sequence[AttachmentId]:
        async with database_guard():
            expired = AttachmentRow.filter(expires_at__lte=now).order_by("expires_at").limit(limit)
            return [AttachmentId(row.id) for row in await expired.only("id")]

    async def find_existing(self, ids: Collection[AttachmentId]) -> Collection[AttachmentId]:
        async with database_guard():
            return {AttachmentId(row.id) for row in await AttachmentRow.filter(id__in=list(ids)).only("id")}

    async def delete(self, ids: Collection[AttachmentId]) -> None:
        async with database_guard():
            await AttachmentRow.filter(id__in=sorted(ids)).delete()


async def list_parts(after: AttachmentId | None, limit: int) -> list[tuple[AttachmentId, Sequence[Part]]]:
    """Attachments and their parts in the order of their ids, those that expired but still have a row included. Raises Unavailable."""
    async with database_guard():
        rows = await fetch(connection(), _LIST, after or UUID(int=0), limit)
    return [(AttachmentId(to_uuid(row["id"])), _parse_parts(row["parts"])) for row in rows]


async def _usage(tx: BaseDBAsyncClient, owner: UserId, now: datetime) -> Usage:
    row = (await fetch(tx, _USAGE, owner, now))[0]
    # On PostgreSQL the sum is a Decimal.
    return Usage(row["files"], row["unfinished"], int(row["length"]))


def _own(owner: UserId, attachment_id: AttachmentId, now: datetime) -> QuerySet[AttachmentRow]:
    return AttachmentRow.filter(id=attachment_id, expires_at__gt=now, account_id=owner)


def _first(rows: Sequence[dict[str, Any]]) -> Attachment | None:
    return _attachment(rows[0]) if rows else None


def _attachment(row: dict[str, Any]) -> Attachment:
    return Attachment(
        attachment_id=AttachmentId(to_uuid(row["id"])),
        length=row["length"],
        created_at=to_datetime(row["created_at"]),
        expires_at=to_datetime(row["expires_at"]),
        completed_at=to_datetime(row["completed_at"]) if row["completed_at"] else None,
        parts=_parse_parts(row["parts"]),
        writer=row["writer"],
    )


def _format_parts(parts: Sequence[Part]) -> str:
    """NAME:LENGTH of each part, separated by blanks."""
    return " ".join(f"{part.name}:{part.length}" for part in parts)


def _parse_parts(text: str) -> tuple[Part, ...]:
    pairs = (each.split(":") for each in text.split())
    return tuple(Part(name, int(length)) for name, length in pairs)
