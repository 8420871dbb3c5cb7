"""Makes a backup: database, then attachments, then secrets, into one sealed file that is read again before it gets its name."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from vyry import __version__
from vyry.attachments.attachment import AttachmentId, Part, PartStore
from vyry.errors import OperationRefused, Unavailable
from vyry.kernel.atomic_files import sync_folder
from vyry.operator.backup.archive import (
    ABOUT,
    ATTACHMENT_FOLDER,
    DATABASE_FOLDER,
    FORMAT,
    SECRET_FOLDER,
    About,
    ArchiveWriter,
)
from vyry.operator.backup.postgres_programs import dumping, require_program, server_version
from vyry.operator.backup.sealing import Seal, sealing
from vyry.operator.backup.verifying import Contents, verify_backup
from vyry.operator.sqlite_file import sqlite_snapshot
from vyry.storage.attachments import list_parts
from vyry.storage.database import is_postgres, open_database, sqlite_path
from vyry.storage.migrator import applied_migrations


_PAGE: Final = 500
#: Called with the name of the phase and the bytes since the last call.
Report = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is backed up, and where a restore puts it."""

    #: None: secrets alone.
    url: str | None = field(repr=False)
    #: None: no attachments.
    parts: PartStore | None
    #: The secret files by their names in the backup; empty: no secrets.
    secrets: Mapping[str, Path]


async def make_backup(
    source: Installation, target: Path, seal: Seal, *, replaces: bool, now: datetime, report: Report
) -> Contents:
    """Write a new file of mode 0600, and read it again before it gets its name. Raises BackupError, OperationRefused, Unavailable, OSError."""
    if not replaces and await asyncio.to_thread(target.exists):
        raise OperationRefused(f"{target} exists: choose another name, or add --force to replace it.")
    about = await _describe(source, now)
    with _new_file(target, replaces=replaces) as file:
        with sealing(file, seal) as stream, ArchiveWriter(stream, target.parent) as archive:
            archive.add(ABOUT, about.model_dump_json(indent=1).encode())
            _add_secrets(archive, source.secrets)
            missing = 0
            if source.url is not None:
                _add_database(archive, source.url, report)
            if source.url is not None and source.parts is not None:
                missing = await _add_attachments(archive, source.url, source.parts, report)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        contents = verify_backup(file, seal.unseal, report)
    contents.missing_parts = missing
    return contents


async def _describe(source: Installation, now: datetime) -> About:
    """What the backup will have. Raises BackupError or OperationRefused when it cannot be made."""
    migrations: list[str] = []
    server: int | None = None
    if source.url is not None:
        migrations = await applied_migrations(source.url)
        if not migrations:
            raise OperationRefused(
                "The database has no tables, there is nothing to back up: check DATABASE_URL and VYRY_DATA_DIR."
            )
        if is_postgres(source.url):
            server = await server_version(source.url)
            require_program("pg_dump", server)
    return About(
        format=FORMAT,
        version=__version__,
        created_at=now,
        database=None if source.url is None else "sqlite" if server is None else "postgres",
        server_version="" if server is None else str(server),
        migrations=tuple(migrations),
        has_attachments=source.parts is not None,
        has_secrets=bool(source.secrets),
    )


def _add_secrets(archive: ArchiveWriter, secrets: Mapping[str, Path]) -> None:
    for name, path in secrets.items():
        if not path.exists():
            continue
        archive.add(f"{SECRET_FOLDER}{name}", path.read_bytes())


def _add_database(archive: ArchiveWriter, url: str, report: Report) -> None:
    with _database_stream(url) as stream:
        for size in archive.add_pieces(DATABASE_FOLDER, stream):
            report("database", size)


@contextmanager
def _database_stream(url: str) -> Iterator[BinaryIO]:
    if is_postgres(url):
        with dumping(url) as dump:
            yield dump
    else:
        with sqlite_snapshot(Path(sqlite_path(url))) as copy, copy.open("rb") as file:
            yield file


async def _add_attachments(archive: ArchiveWriter, url: str, store: PartStore, report: Report) -> int:
    """Add the parts that the database lists after its copy was made; returns how many of them are missing."""
    missing = 0
    async for attachment_id, part in _listed_parts(url):
        try:
            content = await store.read(attachment_id, part.name, 0, part.length)
        except Unavailable as problem:
            if not isinstance(problem.__cause__, FileNotFoundError):
                raise
            # It ended meanwhile, or it was lost before.
            missing += 1
        else:
            archive.add(f"{ATTACHMENT_FOLDER}{attachment_id}/{part.name}", content)
            report("attachments", len(content))
    return missing


async def _listed_parts(url: str) -> AsyncIterator[tuple[AttachmentId, Part]]:
    async with open_database(url):
        after: AttachmentId | None = None
        while page := await list_parts(after, _PAGE):
            for attachment_id, parts in page:
                for part in parts:
                    yield attachment_id, part
            after = page[-1][0]


@contextmanager
def _new_file(path: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """A file without a name of its own until the block ends without an error. Raises OperationRefused when the name was taken meanwhile."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".partial")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
        if replaces:
            partial.replace(path)
        else:
            os.link(partial, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise OperationRefused(f"{path} exists: choose another name, or add --force to replace it.") from None
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
