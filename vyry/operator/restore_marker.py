"""The restore marker, stored in the table `witness` and in a file of the data folder: if they differ, the database was restored from a backup."""

import asyncio
import fcntl
import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4, uuid5

from vyry.accounts.events import OperatorAction
from vyry.devices.restore_detection import RestoreMarkers
from vyry.errors import Unavailable
from vyry.kernel.atomic_files import replace_file
from vyry.operator.audit import record_action
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_notice
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.telemetry import log


LOCK_TIMEOUT_SECONDS: Final = 4.0
_PAUSE_SECONDS: Final = 0.005
#: The row of the database itself: its marker is the fingerprint of the database.
_DATABASE: Final = UUID("00000000-0000-0000-0000-000000000001")
_FINGERPRINT: Final = """
    SELECT s.system_identifier::text || ' ' || c.timeline_id || ' ' || d.oid || ' ' || 'witness'::regclass::oid AS fingerprint
    FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE d.datname = current_database()"""
_MARK: Final = "SELECT mark FROM witness WHERE node = $1"
_ADVANCE: Final = "UPDATE witness SET mark = $3, at = $4 WHERE node = $1 AND mark = $2 RETURNING node"
_ADOPT: Final = """
    INSERT INTO witness (node, mark, at) VALUES ($1, $2, $3) ON CONFLICT (node) DO UPDATE SET mark = excluded.mark, at = excluded.at"""
_DISOWN: Final = "DELETE FROM witness WHERE node = $1"
#: Like every change of keys this locks the accounts first.
_NEXT_ACCOUNTS: Final = """
    UPDATE account SET device_list_epoch = device_list_epoch
    WHERE id IN (SELECT id FROM account WHERE id > $1 ORDER BY id LIMIT $2) RETURNING id"""
_BURN_SETS: Final = """
    UPDATE key_set SET issued_through_one_time = uploaded_through_one_time, issued_through_pq = uploaded_through_pq, is_low_told = TRUE
    WHERE mailbox IN (SELECT mailbox FROM device WHERE account_id = ANY($1)) RETURNING mailbox"""
_BURN_KEYS: Final = "DELETE FROM one_time_prekey WHERE mailbox = ANY($1)"
_OWNERS: Final = "SELECT DISTINCT account_id FROM device WHERE mailbox = ANY($1) AND ended_at IS NULL"


class TortoiseRestoreMarkers:
    """MarkerStore on PostgreSQL or SQLite."""

    async def load_marker(self, node: UUID) -> UUID | None:
        async with database_guard():
            found = await fetch(connection(), _MARK, node)
        return to_uuid(found[0]["mark"]) if found else None

    async def advance_marker(self, node: UUID, old: UUID, new: UUID, now: datetime) -> bool:
        async with database_guard():
            return bool(await fetch(connection(), _ADVANCE, node, old, new, now))

    async def reset_marker(self, node: UUID, mark: UUID, now: datetime) -> None:
        fingerprint = await self._fingerprint()
        async with transaction() as tx:
            await fetch(tx, _ADOPT, node, mark, now)
            if fingerprint is None:
                await fetch(tx, _DISOWN, _DATABASE)
            else:
                await fetch(tx, _ADOPT, _DATABASE, fingerprint, now)

    async def mark_restored(self, now: datetime) -> None:
        """Give the database a fingerprint that is not its own: the first node that starts on it detects a restore, also without a marker file."""
        async with transaction() as tx:
            await fetch(tx, _ADOPT, _DATABASE, uuid4(), now)

    async def is_other_database(self) -> bool:
        kept, found = await self.load_marker(_DATABASE), await self._fingerprint()
        return kept is not None and kept != found

    async def discard_keys(self, after_id: UUID, limit: int, now: datetime) -> UUID | None:
        async with transaction() as tx:
            accounts = sorted(to_uuid(row["id"]) for row in await fetch(tx, _NEXT_ACCOUNTS, after_id, limit))
            mailboxes = [row["mailbox"] for row in await fetch(tx, _BURN_SETS, accounts)]
            await fetch(tx, _BURN_KEYS, mailboxes)
            body = {"name": "prekeysLow", "oneTimeRemaining": 0, "pqRemaining": 0}
            for row in await fetch(tx, _OWNERS, mailboxes):
                await enqueue_notice(tx, NewNotice(to_uuid(row["account_id"]), Audience.OWN, body, now))
        return accounts[-1] if len(accounts) == limit else None

    async def record_discard(self, operator: str, reason: str, now: datetime) -> None:
        async with transaction() as tx:
            await record_action(tx, OperatorAction(now, operator, "restored", reason))

    async def _fingerprint(self) -> UUID | None:
        """Identifies this database: a copy of it on another server or timeline has another fingerprint. None on SQLite, which has none."""
        if connection().capabilities.dialect == "sqlite":
            return None
        async with database_guard():
            found = await fetch(connection(), _FINGERPRINT)
        return uuid5(_DATABASE, found[0]["fingerprint"])


class RestoreMarkerFile:
    """MarkerFile in a folder: one small file, replaced as a whole. If the folder cannot be written, the marker lives as long as this process."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "witness"
        self._cached: RestoreMarkers | None = None
        self._lock: int | None = None
        self._is_logged = False

    async def lock(self) -> None:
        until = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                self._lock = self._lock_file()
            except BlockingIOError:
                # Another process of this machine has it for some milliseconds.
                if time.monotonic() > until:
                    raise Unavailable("The restore-marker file (`witness`) is in use.") from None
                await asyncio.sleep(_PAUSE_SECONDS)
            except OSError as problem:
                self._warn_once(problem)
                return
            else:
                return

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def read(self) -> RestoreMarkers | None:
        if self._lock is None:
            return self._cached
        try:
            fields = json.loads(await asyncio.to_thread(self._path.read_text))
            pending = UUID(fields["pending"]) if fields["pending"] else None
            return RestoreMarkers(UUID(fields["node"]), UUID(fields["sure"]), pending, int(fields["burns"]))
        except FileNotFoundError:
            return self._cached
        except (OSError, ValueError, TypeError, KeyError) as problem:
            # A manipulated file could make the node hand out a prekey twice, so it hands out none until the operator has checked.
            raise Unavailable("The restore-marker file (`witness`) cannot be read.") from problem

    async def write(self, marks: RestoreMarkers) -> None:
        self._cached = marks
        if self._lock is None:
            return
        pending = str(marks.pending) if marks.pending else None
        text = json.dumps(
            {"node": str(marks.node), "sure": str(marks.sure), "pending": pending, "burns": marks.discards}
        )
        try:
            await asyncio.to_thread(replace_file, self._path, text.encode())
        except OSError as problem:
            raise Unavailable("The restore-marker file (`witness`) cannot be written.") from problem

    def _lock_file(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        return lock

    def _warn_once(self, problem: OSError) -> None:
        if not self._is_logged:
            log.warning("restore_marker_not_written", error=type(problem).__name__)
        self._is_logged = True
