"""Where devices want to be woken, in the database. A target ends with its device (`end_devices`)."""

from uuid import UUID

from vyry.devices.push import PushKind, PushTarget
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.raw_sql import fetch
from vyry.storage.wakeups import UNMARK_PUSHED, delete_wakeup


_KEEP = """
    INSERT INTO push_target (device, kind, endpoint, p256dh, auth, token, topic)
    SELECT id, $2, $3, $4, $5, $6, $7 FROM device WHERE id = $1 AND ended_at IS NULL
    ON CONFLICT (device) DO UPDATE SET kind = excluded.kind, endpoint = excluded.endpoint, p256dh = excluded.p256dh,
        auth = excluded.auth, token = excluded.token, topic = excluded.topic
    RETURNING device"""
#: From now on deposits look for the target.
_MARK = "UPDATE mailbox SET is_pushed = TRUE WHERE id = (SELECT mailbox FROM device WHERE id = $1)"
#: The device's end takes this lock too: a target is never kept for a device that has just ended.
_LOCK = "UPDATE device SET ended_at = ended_at WHERE id = $1"

_HAS_WEB_PUSH = "SELECT EXISTS (SELECT 1 FROM push_target WHERE kind = $1) AS is_there"


async def has_web_push() -> bool:
    """Whether a device has subscribed to Web Push, which it did under the key of this node. Raises Unavailable."""
    async with database_guard():
        return bool((await fetch(connection(), _HAS_WEB_PUSH, PushKind.WEBPUSH.value))[0]["is_there"])


class TortoisePushTargets:
    """PushStore on PostgreSQL or SQLite."""

    async def save(self, device: UUID, target: PushTarget) -> bool:
        values = (target.kind.value, target.endpoint, target.p256dh, target.auth, target.token, target.topic)
        async with transaction() as tx:
            await fetch(tx, _LOCK, device)
            await fetch(tx, _MARK, device)
            # Whoever registers is awake.
            await delete_wakeup(tx, device)
            return bool(await fetch(tx, _KEEP, device, *values))

    async def delete(self, device: UUID) -> None:
        async with transaction() as tx:
            await fetch(tx, _LOCK, device)
            await fetch(tx, UNMARK_PUSHED, device)
            await delete_wakeup(tx, device)
            await fetch(tx, "DELETE FROM push_target WHERE device = $1", device)
