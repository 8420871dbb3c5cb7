"""Push targets and planned wakeups.

Deposits plan wakeups by a trigger (migrations/0001_postgres_triggers.sql). The database's own clock decides what is due. A target ends with its device
(`end_devices`).
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, Wakeup
from vyry.kernel.ids import MailboxKey
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.locks import lock_device
from vyry.storage.raw_sql import database_now, fetch, to_datetime, to_uuid


#: Longer than any push request takes.
CLAIM_LEASE: Final = timedelta(seconds=30)
#: A device that acknowledges is awake: its wakeup is checked again after so long.
RECHECK_AFTER: Final = timedelta(seconds=3)
#: A device that was woken in this time is not woken again for a call.
_RECENTLY: Final = timedelta(seconds=10)
#: A device needs no wakeup if its mailbox is empty, or if it has acknowledged mail since: then it is collecting the rest. The last branch of `due_at` gives
#: the parameters their type.
_CLAIM: Final = """
    UPDATE push_wake AS w SET
        due_at = CASE WHEN k.is_asleep THEN $2 WHEN k.is_waiting THEN $3 ELSE nullif(w.due_at, w.due_at) END,
        attempts = CASE WHEN k.is_asleep THEN w.attempts + 1 ELSE 0 END,
        wakes = CASE WHEN k.is_asleep THEN w.wakes ELSE 0 END,
        rest_until = CASE WHEN k.is_asleep THEN w.rest_until END,
        acknowledged_seq = CASE WHEN k.is_asleep THEN w.acknowledged_seq ELSE k.point END,
        seq = k.last_seq
    FROM (
        SELECT x.device AS id, m.seq AS last_seq, m.acknowledged_seq AS point, m.seq > m.acknowledged_seq AND t.device IS NOT NULL AS is_waiting,
            t.device IS NOT NULL AND (x.is_ring OR m.seq > m.acknowledged_seq AND m.acknowledged_seq <= x.acknowledged_seq) AS is_asleep
        FROM push_wake x JOIN mailbox m ON m.id = x.mailbox LEFT JOIN push_target t ON t.device = x.device
        WHERE x.due_at <= $1 AND (t.device IS NULL OR t.kind = ANY($4)) ORDER BY x.due_at LIMIT $5 FOR UPDATE OF x SKIP LOCKED
    ) k WHERE w.device = k.id
    RETURNING device, due_at, is_urgent, wakes, attempts"""
_TARGETS: Final = "SELECT device, kind, endpoint, p256dh, auth, token, topic FROM push_target WHERE device = ANY($1)"
#: Wait for a running deposit, which has locked the mailbox: otherwise its mail would be missed and wake no device. The order of locks is the same there.
_WAIT_FOR_DEPOSIT: Final = (
    "SELECT id FROM mailbox WHERE id = (SELECT mailbox FROM push_wake WHERE device = $1) FOR NO KEY UPDATE"
)
_SENT: Final = """
    UPDATE push_wake AS w SET
        due_at = CASE WHEN m.acknowledged_seq >= m.seq THEN nullif(w.due_at, w.due_at) WHEN m.acknowledged_seq > w.acknowledged_seq THEN $3
            WHEN m.seq > w.seq THEN $4 END,
        wakes = CASE WHEN m.acknowledged_seq > w.acknowledged_seq THEN 0 ELSE w.wakes + 1 END,
        rest_until = CASE WHEN m.acknowledged_seq > w.acknowledged_seq THEN nullif(w.due_at, w.due_at) WHEN w.is_urgent THEN $4 ELSE w.rest_until END,
        acknowledged_seq = m.acknowledged_seq, attempts = 0, is_ring = FALSE, sent_at = $5
    FROM mailbox m WHERE m.id = w.mailbox AND w.device = $1 AND w.due_at = $2"""
_LATER: Final = "UPDATE push_wake SET due_at = $3 WHERE device = $1 AND due_at = $2"
_UNCLAIM: Final = "UPDATE push_wake SET due_at = $3, attempts = attempts - 1 WHERE device = $1 AND due_at = $2"
_GIVE_UP: Final = "UPDATE push_wake SET due_at = NULL, attempts = 0, is_ring = FALSE WHERE device = $1 AND due_at = $2"
#: From now on deposits plan no wakeup.
UNMARK_PUSHED: Final = "UPDATE mailbox SET is_pushed = FALSE WHERE id = (SELECT mailbox FROM device WHERE id = $1)"
_DROP: Final = """
    DELETE FROM push_target WHERE device = $1 AND kind = $2 AND coalesce(endpoint, '') = $3 AND coalesce(token, '') = $4 RETURNING device"""
_REPORT: Final = """
    INSERT INTO push_report (device, kind, result, status, at) SELECT id, $2, $3, $4, $5 FROM device WHERE id = $1 AND ended_at IS NULL
    ON CONFLICT (device) DO UPDATE SET kind = excluded.kind, result = excluded.result, status = excluded.status, at = excluded.at"""
_RING: Final = """
    INSERT INTO push_wake AS w (device, mailbox, due_at, is_ring, acknowledged_seq)
    SELECT d.id, m.id, $2, TRUE, m.acknowledged_seq FROM mailbox m JOIN device d ON d.mailbox = m.id JOIN push_target t ON t.device = d.id
    WHERE m.id = ANY($1) AND m.is_pushed ORDER BY m.id
    ON CONFLICT (device) DO UPDATE SET due_at = excluded.due_at, is_ring = TRUE, is_urgent = TRUE, attempts = 0
    WHERE NOT w.is_ring AND (w.sent_at IS NULL OR w.sent_at < $3)"""


class TortoiseWakeups:
    """WakeupStore on PostgreSQL or SQLite."""

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wakeup]:
        async with database_guard():
            now = await database_now(connection())
            names = [kind.value for kind in kinds]
            claimed = await fetch(connection(), _CLAIM, now, now + CLAIM_LEASE, now + RECHECK_AFTER, names, limit)
            # A wakeup that is not to be sent has no attempts.
            due = {to_uuid(row["device"]): row for row in claimed if row["attempts"]}
            found = await fetch(connection(), _TARGETS, list(due)) if due else []
        targets = {to_uuid(row["device"]): _target(row) for row in found}
        return [_wake(device, targets[device], row) for device, row in due.items() if device in targets]

    async def record_sent(self, wake: Wakeup, rest: timedelta) -> None:
        async with transaction() as tx:
            await fetch(tx, _WAIT_FOR_DEPOSIT, wake.device)
            now = await database_now(tx)
            await fetch(tx, _SENT, wake.device, wake.lease_ends_at, now + RECHECK_AFTER, now + rest, now)

    async def reschedule(self, wake: Wakeup, wait: timedelta | None) -> None:
        async with database_guard():
            if wait is None:
                await fetch(connection(), _GIVE_UP, wake.device, wake.lease_ends_at)
            else:
                await fetch(
                    connection(), _LATER, wake.device, wake.lease_ends_at, await database_now(connection()) + wait
                )

    async def release(self, wake: Wakeup, wait: timedelta) -> None:
        async with database_guard():
            await fetch(
                connection(), _UNCLAIM, wake.device, wake.lease_ends_at, await database_now(connection()) + wait
            )

    async def delete_target(self, wake: Wakeup) -> None:
        target = wake.target
        async with transaction() as tx:
            await lock_device(tx, wake.device)
            known = target.kind.value, target.endpoint or "", target.token or ""
            if await fetch(tx, _DROP, wake.device, *known):
                await fetch(tx, UNMARK_PUSHED, wake.device)
                await delete_wakeup(tx, wake.device)

    async def record_report(self, wake: Wakeup, outcome: PushOutcome) -> None:
        async with database_guard():
            facts = wake.target.kind.value, outcome.result.value, outcome.status
            await fetch(connection(), _REPORT, wake.device, *facts, await database_now(connection()))

    async def plan_urgent(self, mailboxes: Collection[MailboxKey]) -> None:
        async with database_guard():
            now = await database_now(connection())
            await fetch(connection(), _RING, sorted(mailboxes), now, now - _RECENTLY)


async def delete_wakeup(tx: BaseDBAsyncClient, device: UUID) -> None:
    """Delete the planned wakeup of a device."""
    await fetch(tx, "DELETE FROM push_wake WHERE device = $1", device)


def _wake(device: UUID, target: PushTarget, row: dict[str, Any]) -> Wakeup:
    return Wakeup(device, target, bool(row["is_urgent"]), row["wakes"], row["attempts"], to_datetime(row["due_at"]))


def _target(row: dict[str, Any]) -> PushTarget:
    return PushTarget(PushKind(row["kind"]), row["endpoint"], row["p256dh"], row["auth"], row["token"], row["topic"])


_KEEP = """
    INSERT INTO push_target (device, kind, endpoint, p256dh, auth, token, topic)
    SELECT id, $2, $3, $4, $5, $6, $7 FROM device WHERE id = $1 AND ended_at IS NULL
    ON CONFLICT (device) DO UPDATE SET kind = excluded.kind, endpoint = excluded.endpoint, p256dh = excluded.p256dh,
        auth = excluded.auth, token = excluded.token, topic = excluded.topic
    RETURNING device"""
#: From now on deposits plan wakeups.
_MARK = "UPDATE mailbox SET is_pushed = TRUE WHERE id = (SELECT mailbox FROM device WHERE id = $1)"

_HAS_WEB_PUSH = "SELECT EXISTS (SELECT 1 FROM push_target WHERE kind = $1) AS is_there"


async def has_web_push() -> bool:
    """Whether any device has a Web Push subscription, which is bound to the VAPID key of this node. Raises Unavailable."""
    async with database_guard():
        return bool((await fetch(connection(), _HAS_WEB_PUSH, PushKind.WEBPUSH.value))[0]["is_there"])


class TortoisePushTargets:
    """PushStore on PostgreSQL or SQLite."""

    async def save(self, device: UUID, target: PushTarget) -> bool:
        values = (target.kind.value, target.endpoint, target.p256dh, target.auth, target.token, target.topic)
        async with transaction() as tx:
            # Ending a device takes this lock, too: no target is stored for a device that has just ended.
            await lock_device(tx, device)
            await fetch(tx, _MARK, device)
            # A device that registers a target is awake.
            await delete_wakeup(tx, device)
            await fetch(tx, "DELETE FROM push_report WHERE device = $1", device)
            return bool(await fetch(tx, _KEEP, device, *values))

    async def delete(self, device: UUID) -> None:
        async with transaction() as tx:
            await lock_device(tx, device)
            await fetch(tx, UNMARK_PUSHED, device)
            await delete_wakeup(tx, device)
            await fetch(tx, "DELETE FROM push_target WHERE device = $1", device)
