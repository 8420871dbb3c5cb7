"""Ringing calls. Answering and ending a call are one statement each; the notice of a missed call is written in the same transaction."""

from datetime import datetime
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.errors import RateLimited
from vyry.kernel.ids import DeviceId, UserId
from vyry.signals.call_store import CALL_RETENTION, MAX_RINGING, RING_TIMEOUT, UNANSWERED, Call, CallKey
from vyry.storage.conversation_models import CallRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_uuid


#: Calls of one account are added one after the other, so that the limit is exact.
_LOCK_CALLER: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_RING: Final = """
    INSERT INTO call (call_id, account_id, to_id, device_id, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"""
_CLAIM: Final = """
    UPDATE call SET taken_by = $4 WHERE call_id = $1 AND account_id = $2 AND to_id = $3 AND taken_by IS NULL RETURNING id"""
_EXPIRE: Final = """
    UPDATE call SET taken_by = $1 WHERE id IN (
        SELECT id FROM call WHERE taken_by IS NULL AND at <= $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING *"""
_FORGET: Final = """
    DELETE FROM call WHERE id IN (SELECT id FROM call WHERE at <= $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING id"""


class TortoiseCalls:
    """CallStore on PostgreSQL or SQLite."""

    async def start_ringing(self, call: Call, now: datetime) -> None:
        key = call.key
        async with transaction() as tx:
            if tx.capabilities.dialect != "sqlite":
                await fetch(tx, _LOCK_CALLER, str(key.caller))
            await fetch(tx, _RING, key.call_id, key.caller, key.callee, call.device_id, now)
            if await CallRow.filter(account_id=key.caller, taken_by__isnull=True).using_db(tx).count() > MAX_RINGING:
                raise RateLimited(round(RING_TIMEOUT.total_seconds()))

    async def find(self, key: CallKey) -> Call | None:
        async with database_guard():
            found = await CallRow.filter(call_id=key.call_id, account_id=key.caller, to_id=key.callee).values()
        return _call(found[0]) if found else None

    async def claim(self, key: CallKey, device_id: DeviceId) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _CLAIM, key.call_id, key.caller, key.callee, device_id))

    async def end(self, key: CallKey, now: datetime, *, is_missed: bool) -> bool:
        async with transaction() as tx:
            has_ended = bool(await fetch(tx, _CLAIM, key.call_id, key.caller, key.callee, UNANSWERED))
            if has_ended and is_missed:
                await _enqueue_call_missed(tx, key, now)
        return has_ended

    async def expire_unanswered(self, now: datetime, limit: int) -> list[Call]:
        async with transaction() as tx:
            calls = [_call(row) for row in await fetch(tx, _EXPIRE, UNANSWERED, now - RING_TIMEOUT, limit)]
            for call in calls:
                await _enqueue_call_missed(tx, call.key, now)
        return calls

    async def delete_finished(self, now: datetime, limit: int) -> int:
        async with database_guard():
            return len(await fetch(connection(), _FORGET, now - CALL_RETENTION, limit))


async def _enqueue_call_missed(tx: BaseDBAsyncClient, key: CallKey, now: datetime) -> None:
    body = {"name": "callMissed", "userId": str(key.caller), "callId": str(key.call_id)}
    await enqueue_notice(tx, NewNotice(key.callee, Audience.OWN, body, now, caused_by=key.caller))


def _call(row: dict[str, Any]) -> Call:
    key = CallKey(to_uuid(row["call_id"]), UserId(to_uuid(row["account_id"])), UserId(to_uuid(row["to_id"])))
    taken_by = row["taken_by"]
    return Call(key, DeviceId(row["device_id"]), None if taken_by is None else DeviceId(taken_by))
