"""Who lets whom know of being there, as the database has it."""

from collections.abc import Collection
from typing import Final

from vyry.kernel.batches import batched
from vyry.kernel.ids import UserId
from vyry.signals.presence import WatchPair
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_uuid


#: Accounts or pairs of one statement.
_BATCH: Final = 1_000
#: What ->> makes of a true is text in PostgreSQL and a number in SQLite.
_SHOWS: Final = "CAST(a.settings->>'showPresence' AS TEXT) IN ('true', '1')"
_SHOWING: Final = f"SELECT a.id FROM account a WHERE a.id = ANY($1) AND a.deleted_at IS NULL AND {_SHOWS}"
_FRIENDS: Final = f"""
    JOIN friend f ON f.account_id = p.watched AND f.friend_id = p.watcher
    JOIN account a ON a.id = p.watched AND a.deleted_at IS NULL AND {_SHOWS}
    WHERE NOT EXISTS (SELECT 1 FROM block b WHERE (b.account_id = p.watched AND b.blocked_id = p.watcher)
        OR (b.account_id = p.watcher AND b.blocked_id = p.watched))"""
_SHOWN: Final = {
    "postgres": f"SELECT p.watcher, p.watched FROM unnest($1::uuid[], $2::uuid[]) AS p (watcher, watched) {_FRIENDS}",
    "sqlite": f"""
        SELECT p.watcher, p.watched FROM (
            SELECT one.value AS watcher, other.value AS watched FROM json_each($1) one JOIN json_each($2) other ON other.key = one.key
        ) p {_FRIENDS}""",
}


class TortoisePresencePrivacy:
    """Showing on PostgreSQL or SQLite."""

    async def filter_visible(self, pairs: Collection[WatchPair]) -> set[WatchPair]:
        found: set[WatchPair] = set()
        for part in batched(pairs, _BATCH):
            async with database_guard():
                conn = connection()
                statement = _SHOWN[conn.capabilities.dialect]
                rows = await fetch(conn, statement, [one for one, _ in part], [other for _, other in part])
            found |= {(UserId(to_uuid(row["watcher"])), UserId(to_uuid(row["watched"]))) for row in rows}
        return found

    async def filter_showing(self, users: Collection[UserId]) -> set[UserId]:
        found: set[UserId] = set()
        for part in batched(users, _BATCH):
            async with database_guard():
                rows = await fetch(connection(), _SHOWING, part)
            found |= {UserId(to_uuid(row["id"])) for row in rows}
        return found
