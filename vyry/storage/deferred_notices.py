"""Notices that wait for capacity of a mailbox. A trigger makes them due once the mailbox has more (migrations/0001_postgres_triggers.sql)."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.kernel.ids import MailboxKey, MessageId
from vyry.mail.deferred_notices import DeferredNotice
from vyry.storage.conversation_models import DeferredNoticeRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.raw_sql import fetch


#: Due at once; the trigger writes the same value.
_NOW: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The lease: notices of a worker that dies are tried again after it.
CLAIM_LEASE: Final = timedelta(minutes=1)
#: Mailboxes take turns: the first notice of every mailbox is tried before the second one of any.
_CLAIM: Final = """
    UPDATE held_notice SET try_at = $2 WHERE id IN (
        SELECT id FROM held_notice WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (PARTITION BY mailbox ORDER BY try_at, id) AS turn FROM held_notice WHERE try_at <= $1) due
            ORDER BY turn, id LIMIT $3)
        FOR UPDATE SKIP LOCKED) RETURNING id"""
_FORGET: Final = """
    DELETE FROM held_notice WHERE mailbox = ANY($1) AND (
        notice_id = ANY($2) OR NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.id = held_notice.mailbox AND NOT m.is_ended))"""
#: Except those that the trigger has made due since they were claimed.
_WAIT_FOR_CAPACITY: Final = (
    "UPDATE held_notice SET try_at = NULL WHERE mailbox = ANY($1) AND notice_id = ANY($2) AND try_at > $3"
)


async def defer_notices(tx: BaseDBAsyncClient, notices: Collection[DeferredNotice]) -> None:
    """Store notices, each replacing an older one of the same subject.

    They are tried at once: their mailboxes may have been emptied since they were found full, and no trigger would say so any more.
    """
    newest = {(each.mailbox, each.subject): each for each in notices}
    rows = [
        DeferredNoticeRow(mailbox=mailbox, subject=subject, notice_id=each.notice_id, body=dict(each.body), try_at=_NOW)
        for (mailbox, subject), each in sorted(newest.items(), key=lambda item: item[0])
    ]
    replaced = ["notice_id", "body", "try_at"]
    await DeferredNoticeRow.bulk_create(
        rows, on_conflict=["mailbox", "subject"], update_fields=replaced, using_db=tx, batch_size=500
    )


class TortoiseDeferredNotices:
    """DeferredNoticeStore on PostgreSQL or SQLite."""

    async def claim(self, now: datetime, limit: int) -> list[DeferredNotice]:
        async with database_guard():
            ids = [row["id"] for row in await fetch(connection(), _CLAIM, now, now + CLAIM_LEASE, limit)]
            rows = await DeferredNoticeRow.filter(id__in=ids).order_by("id") if ids else []
        return [DeferredNotice(MessageId(row.notice_id), MailboxKey(row.mailbox), row.body) for row in rows]

    async def record_outcomes(self, posted: Collection[DeferredNotice], full: Collection[DeferredNotice]) -> None:
        async with transaction() as tx:
            boxes = sorted({each.mailbox for each in (*posted, *full)})
            await fetch(tx, _FORGET, boxes, [each.notice_id for each in posted])
            await fetch(tx, _WAIT_FOR_CAPACITY, boxes, [each.notice_id for each in full], _NOW)
