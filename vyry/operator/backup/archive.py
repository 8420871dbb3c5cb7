"""The content of a backup: a tar stream of small files, of which the last is the manifest with size and SHA-256 of every other.

`about.json` comes first; `database/000000`, `database/000001` ... are one file in pieces: a SQLite database, or a dump of pg_dump in its custom format.
`attachments/ID/PART` is one part of an attachment, `secrets/NAME` a secret file. Each file fits in memory; the number of files does not matter.
"""

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from vyry.operator.backup.errors import BackupError
from vyry.operator.backup.sealing import DAMAGED


FORMAT: Final = 1
PIECE_BYTES: Final = 4 << 20
ABOUT: Final = "about.json"
MANIFEST: Final = "manifest"
DATABASE_FOLDER: Final = "database/"
ATTACHMENT_FOLDER: Final = "attachments/"
SECRET_FOLDER: Final = "secrets/"  # noqa: S105  the name of a folder
_NAME: Final = re.compile(
    r"about\.json|database/[0-9]{6,12}|attachments/[0-9a-f-]{36}/[A-Za-z0-9-]{1,64}|secrets/[a-z0-9-]{1,40}"
)
_BLOCK_BYTES: Final = 1 << 20


class About(BaseModel):
    """What is in a backup, and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    version: str
    created_at: AwareDatetime
    #: None: secrets alone.
    database: Literal["sqlite", "postgres"] | None
    server_version: str
    migrations: tuple[str, ...]
    has_attachments: bool
    has_secrets: bool


class ArchiveWriter:
    """Writes the files of a backup; the manifest follows when the block ends without an error."""

    def __init__(self, stream: BinaryIO, folder: Path) -> None:
        self._tar = tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK_BYTES)  # noqa: SIM115  closed in __exit__
        # It has a line for each part of an attachment, so it grows with their number.
        self._manifest = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._manifest:
            if kind is None:
                size = self._manifest.tell()
                self._manifest.seek(0)
                self._tar.addfile(_member(MANIFEST, size), self._manifest)
                self._tar.close()
                return
        # Without the manifest it is no backup; the stream may be gone.
        with suppress(OSError, ValueError):
            self._tar.close()

    def add(self, name: str, content: bytes) -> None:
        """Write one file."""
        self._tar.addfile(_member(name, len(content)), io.BytesIO(content))
        self._manifest.write(_manifest_line(name, content))

    def add_pieces(self, folder: str, stream: BinaryIO) -> Iterator[int]:
        """Write a stream as one file for each piece; yields the length of each."""
        number = 0
        while piece := _read_piece(stream):
            self.add(f"{folder}{number:06d}", piece)
            number += 1
            yield len(piece)


def read_archive(stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file. Raises BackupError in the end unless the manifest lists exactly these files."""
    listed = hashlib.sha256()
    with _tar_errors(), tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                raise BackupError(DAMAGED)
            if member.name == MANIFEST:
                if _digest(file) != listed.digest() or tar.next() is not None:
                    raise BackupError(DAMAGED)
                break
            if not _NAME.fullmatch(member.name) or member.size > 2 * PIECE_BYTES:
                raise BackupError(DAMAGED)
            content = file.read()
            listed.update(_manifest_line(member.name, content))
            yield member.name, content
        else:
            raise BackupError(DAMAGED)
    # What follows the archive is padding; age checks its end too.
    while stream.read(_BLOCK_BYTES):
        pass


def read_about(files: Iterator[tuple[str, bytes]]) -> About:
    """The first file. Raises BackupError when it is none, or when a newer release wrote it."""
    name, content = next(files, ("", b""))
    try:
        about = About.model_validate_json(content)
    except ValidationError:
        raise BackupError(DAMAGED) from None
    if name != ABOUT:
        raise BackupError(DAMAGED)
    if about.format > FORMAT:
        raise BackupError(
            f"The backup was made by Vyry {about.version} in format {about.format}, and this release reads formats up to {FORMAT}: use that release."
        )
    return about


@contextmanager
def _tar_errors() -> Iterator[None]:
    """Turns an error of tarfile into BackupError."""
    try:
        yield
    except (tarfile.TarError, EOFError):
        raise BackupError(DAMAGED) from None


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _digest(file: IO[bytes]) -> bytes:
    sha256 = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        sha256.update(block)
    return sha256.digest()


def _manifest_line(name: str, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}\n".encode()


def _read_piece(stream: BinaryIO) -> bytes:
    """The next piece; a pipe gives it in parts."""
    parts, missing = [], PIECE_BYTES
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
