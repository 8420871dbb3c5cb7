"""Reads a whole backup: every byte is authentic, every file is listed, and nothing is missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from vyry.operator.backup.archive import (
    ATTACHMENT_FOLDER,
    DATABASE_FOLDER,
    SECRET_FOLDER,
    About,
    read_about,
    read_archive,
)
from vyry.operator.backup.errors import BackupError
from vyry.operator.backup.postgres_programs import DumpReader
from vyry.operator.backup.sealing import Unseal, unsealing


_SQLITE_START: Final = b"SQLite format 3\0"


@dataclass(slots=True, kw_only=True)
class Contents:
    """What a backup has."""

    about: About
    database_bytes: int = 0
    attachment_bytes: int = 0
    attachment_parts: int = 0
    #: Parts that the database lists and the store did not have when the backup was made.
    missing_parts: int = 0
    secrets: dict[str, bytes] = field(default_factory=dict, repr=False)


def verify_backup(file: BinaryIO, unseal: Unseal, report: Callable[[str, int], None]) -> Contents:
    """Read it to its end. Raises WrongKey, BackupError."""
    with unsealing(file, unseal) as stream:
        files = read_archive(stream)
        contents = Contents(about=read_about(files))
        with _database_check(contents.about) as check_piece:
            for name, content in files:
                report("verify", len(content))
                if name.startswith(DATABASE_FOLDER):
                    contents.database_bytes += len(content)
                    check_piece(content)
                elif name.startswith(ATTACHMENT_FOLDER):
                    contents.attachment_bytes += len(content)
                    contents.attachment_parts += 1
                elif name.startswith(SECRET_FOLDER):
                    contents.secrets[name.removeprefix(SECRET_FOLDER)] = content
    if bool(contents.database_bytes) != bool(contents.about.database):
        raise BackupError("The backup has no database: make another one.")
    return contents


@contextmanager
def _database_check(about: About) -> Iterator[Callable[[bytes], None]]:
    """A function that takes the pieces of the database. Raises BackupError when they are no database of this kind."""
    reader = DumpReader() if about.database == "postgres" else None
    pieces = 0

    def check_piece(content: bytes) -> None:
        nonlocal pieces
        pieces += 1
        if reader is not None:
            reader.read(content)
        elif pieces == 1 and not content.startswith(_SQLITE_START):
            raise BackupError("The backup has a database that is not SQLite: make another one.")

    is_readable = True
    try:
        yield check_piece
    finally:
        if reader is not None:
            is_readable = reader.end()
    if not is_readable:
        raise BackupError("The backup has a dump that pg_restore cannot read: make another one.")
