"""Puts a backup in the place of an installation. What was there before is kept beside it: a database under another name, a secret file too.

The backup is read twice: first to its end, so that one that is damaged, cut, sealed under another key or newer than this release changes nothing.
The restored database has a mark by which the first node that starts on it detects the restore (vyry/operator/restore_marker.py).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.attachments.attachment import AttachmentId, PartStore
from vyry.errors import OperationRefused
from vyry.kernel.atomic_files import replace_file
from vyry.operator.audit import record_action
from vyry.operator.backup.archive import ATTACHMENT_FOLDER, DATABASE_FOLDER, SECRET_FOLDER, read_about, read_archive
from vyry.operator.backup.errors import BackupError
from vyry.operator.backup.making import Installation, Report
from vyry.operator.backup.postgres_programs import loading, require_program, server_version
from vyry.operator.backup.postgres_schema import analyze, has_postgres_tables, put_aside
from vyry.operator.backup.sealing import Unseal, unsealing
from vyry.operator.backup.verifying import Contents, verify_backup
from vyry.operator.live_nodes import refuse_while_nodes_live
from vyry.operator.restore_marker import TortoiseRestoreMarkers
from vyry.operator.sqlite_file import check_sqlite, has_tables, open_private, refuse_open_sqlite, replace_sqlite
from vyry.storage.database import is_postgres, open_database, sqlite_path, transaction
from vyry.storage.migrator import migration_lock, release_migrations


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. `kept` names what was there before."""

    kept: Sequence[str]


async def check_restore(
    file: BinaryIO, unseal: Unseal, target: Installation, *, replaces: bool, report: Report
) -> Contents:
    """Read the backup and look at the target; changes nothing. Raises BackupError, OperationRefused, Unavailable."""
    contents = verify_backup(file, unseal, report)
    about = contents.about
    if target.url is not None:
        await _check_database(contents, target.url, replaces=replaces)
    if target.secrets and not contents.secrets:
        raise BackupError("The backup has no secrets: they were backed up apart, or not at all.")
    for name, content in contents.secrets.items() if target.secrets else ():
        path = target.secrets[name]
        if path.exists() and path.read_bytes() != content and not replaces:
            raise OperationRefused(
                f"{path} exists and differs from the backup: add --force to replace it, which keeps a copy."
            )
    if target.parts is not None and about.has_attachments:
        await target.parts.check_capacity(contents.attachment_bytes)
    return contents


async def _check_database(contents: Contents, url: str, *, replaces: bool) -> None:
    about = contents.about
    if about.database is None:
        raise BackupError("The backup has secrets alone: restore it with --only-secrets.")
    if is_postgres(url) != (about.database == "postgres"):
        name = {"sqlite": "a SQLite file", "postgres": "PostgreSQL"}
        raise BackupError(
            f"The backup is of {name[about.database]}, and DATABASE_URL names {name['postgres' if is_postgres(url) else 'sqlite']}: correct DATABASE_URL."
        )
    known = await release_migrations(url)
    if unknown := [each for each in about.migrations if each not in known]:
        raise BackupError(
            f"The backup is of a newer release, Vyry {about.version} (it has {', '.join(unknown)}): restore it with that release."
        )
    await refuse_while_nodes_live(url)
    if is_postgres(url):
        require_program("pg_restore", max(await server_version(url), int(about.server_version or 0)))
    is_used = await has_postgres_tables(url) if is_postgres(url) else has_tables(Path(sqlite_path(url)))
    if is_used and not replaces:
        raise OperationRefused(
            "The database is not empty: add --force to replace it, which keeps it under another name."
        )


async def restore_backup(
    file: BinaryIO, unseal: Unseal, target: Installation, *, act: OperatorAction, report: Report
) -> Restored:
    """Restore what `check_restore` has accepted. Raises BackupError, OperationRefused, Unavailable."""
    restoring = _Restoring(target, act, report)
    file.seek(0)
    with unsealing(file, unseal) as stream:
        files = read_archive(stream)
        read_about(files)
        await restoring.run(files)
    return Restored(restoring.kept)


class _Restoring:
    """One restore: each folder of the backup goes to its place, in the order of the backup."""

    def __init__(self, target: Installation, act: OperatorAction, report: Report) -> None:
        self.kept: list[str] = []
        self._target = target
        self._act = act
        self._report = report
        # Two restores of one second keep a copy each.
        self._suffix = f"{act.at:%Y%m%dt%H%M%S_%fz}"

    async def run(self, files: Iterator[tuple[str, bytes]]) -> None:
        for folder, group in groupby(files, lambda file: f"{file[0].partition('/')[0]}/"):
            contents = self._reported(folder, group)
            if folder == SECRET_FOLDER and self._target.secrets:
                self._restore_secrets(contents)
            elif folder == DATABASE_FOLDER and self._target.url is not None:
                await self._restore_database(contents, self._target.url)
            elif folder == ATTACHMENT_FOLDER and self._target.parts is not None:
                await _restore_attachments(contents, self._target.parts)

    def _reported(self, folder: str, group: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for name, content in group:
            self._report(folder.rstrip("/"), len(content))
            yield name.removeprefix(folder), content

    def _restore_secrets(self, contents: Iterator[tuple[str, bytes]]) -> None:
        for name, content in contents:
            path = self._target.secrets[name]
            if path.exists() and path.read_bytes() != content:
                kept = path.with_name(f"{path.name}.before-restore-{self._suffix}")
                os.link(path, kept)
                self.kept.append(str(kept))
            replace_file(path, content)

    async def _restore_database(self, contents: Iterator[tuple[str, bytes]], url: str) -> None:
        async with migration_lock(url):
            await refuse_while_nodes_live(url)
            if is_postgres(url):
                await self._restore_postgres(contents, url)
            else:
                await self._restore_sqlite(contents, Path(sqlite_path(url)))

    async def _restore_postgres(self, contents: Iterator[tuple[str, bytes]], url: str) -> None:
        async with put_aside(url, self._suffix) as aside:
            with loading(url) as stream:
                for _, piece in contents:
                    stream.write(piece)
        self.kept += [f"schema {aside}"] if aside else []
        await self._mark(url)
        await analyze(url)

    async def _restore_sqlite(self, contents: Iterator[tuple[str, bytes]], path: Path) -> None:
        new = path.with_name(f"{path.name}.restoring")
        kept = path.with_name(f"{path.name}.before-restore-{self._suffix}")
        try:
            with open_private(new) as file:
                for _, piece in contents:
                    file.write(piece)
            check_sqlite(new)
            await self._mark(f"sqlite://{new}")
            # Its logs end too.
            refuse_open_sqlite(new)
            self.kept += [str(kept)] if replace_sqlite(new, path, kept) else []
        finally:
            new.unlink(missing_ok=True)

    async def _mark(self, url: str) -> None:
        """Have the first node detect the restore, and write the audit log, which the backup has up to its own time."""
        async with open_database(url):
            await TortoiseRestoreMarkers().mark_restored(self._act.at)
            async with transaction() as tx:
                await record_action(tx, self._act)


async def _restore_attachments(contents: Iterator[tuple[str, bytes]], store: PartStore) -> None:
    for name, content in contents:
        attachment_id, _, part = name.partition("/")
        await store.put(AttachmentId(UUID(attachment_id)), part, content)
