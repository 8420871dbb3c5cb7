"""Attachments in the database: state, quota, and the names of their parts in the attachment store."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

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
_FIND: Final = "SELECT * FROM attachment WHERE id = $1 AND expires_at > $2"
_FIND_OWN: Final = "SELECT * FROM attachment WHERE id = $1 AND expires_at > $2 AND account_id = $3"
_CLAIM_WRITER: Final = """
    UPDATE attachment SET writer = writer + 1 WHERE id = $1 AND expires_at > $2 AND account_id = $3 RETURNING *"""
_EXTEND: Final = """
    UPDATE attachment SET parts = $3, received = $4, completed_at = $5, expires_at = $6
    WHERE id = $1 AND writer = $2 AND expires_at > $7 AND completed_at IS NULL AND account_id IS NOT NULL RETURNING id"""
_END: Final = "UPDATE attachment SET expires_at = $2 WHERE id = $1 AND expires_at > $2 AND account_id = $3 RETURNING id"
_EXPIRED: Final = "SELECT id FROM attachment WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"
_EXISTING: Final = "SELECT id FROM attachment WHERE id = ANY($1)"
_LIST: Final = "SELECT id, parts FROM attachment WHERE id > $1 ORDER BY id LIMIT $2"
_FORGET: Final = "DELETE FROM attachment WHERE id = ANY($1)"


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
        return await _fetch_one(_FIND, attachment_id, now)

    async def find_own(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        return await _fetch_one(_FIND_OWN, attachment_id, now, owner)

    async def claim_writer(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> Attachment | None:
        return await _fetch_one(_CLAIM_WRITER, attachment_id, now, owner)

    async def extend(self, longer: Attachment, now: datetime) -> bool:
        values = (
            *(longer.attachment_id, longer.writer, _format_parts(longer.parts), longer.received),
            *(longer.completed_at, longer.expires_at, now),
        )
        async with database_guard():
            return bool(await fetch(connection(), _EXTEND, *values))

    async def expire(self, owner: UserId, attachment_id: AttachmentId, now: datetime) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _END, attachment_id, now, owner))


class TortoiseAttachmentUpkeep:
    """AttachmentUpkeepStore on PostgreSQL or SQLite."""

    async def list_expired(self, now: datetime, limit: int) -> Sequence[AttachmentId]:
        return await _fetch_ids(_EXPIRED, now, limit)

    async def find_existing(self, ids: Collection[AttachmentId]) -> Collection[AttachmentId]:
        return set(await _fetch_ids(_EXISTING, list(ids))) if ids else ()

    async def delete(self, ids: Collection[AttachmentId]) -> None:
        async with database_guard():
            await fetch(connection(), _FORGET, sorted(ids))


async def list_parts(after: AttachmentId | None, limit: int) -> list[tuple[AttachmentId, Sequence[Part]]]:
    """Attachments and their parts in the order of their ids, those that expired but still have a row included. Raises Unavailable."""
    async with database_guard():
        rows = await fetch(connection(), _LIST, after or UUID(int=0), limit)
    return [(AttachmentId(to_uuid(row["id"])), _parse_parts(row["parts"])) for row in rows]


async def _usage(tx: BaseDBAsyncClient, owner: UserId, now: datetime) -> Usage:
    row = (await fetch(tx, _USAGE, owner, now))[0]
    # On PostgreSQL the sum is a Decimal.
    return Usage(row["files"], row["unfinished"], int(row["length"]))


async def _fetch_one(statement: str, *values: object) -> Attachment | None:
    async with database_guard():
        rows = await fetch(connection(), statement, *values)
    return _attachment(rows[0]) if rows else None


async def _fetch_ids(statement: str, *values: object) -> list[AttachmentId]:
    async with database_guard():
        return [AttachmentId(to_uuid(row["id"])) for row in await fetch(connection(), statement, *values)]


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
