"""pg_dump and pg_restore, the client programs of PostgreSQL: they read and write a dump in the custom format.

The password is never on a command line: the programs read it from a file that only this user may read, and that is deleted afterwards.
"""

import asyncio
import os
import re
import shutil
import subprocess  # nosec B404 - of the client programs alone
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from vyry.errors import OperationRefused
from vyry.operator.backup.errors import BackupError


Program = Literal["pg_dump", "pg_restore"]
_CONNECT_SECONDS: Final = 5.0
_COPY_BYTES: Final = 1 << 20
_VERSION: Final = re.compile(r"\(PostgreSQL\)[^0-9]*([0-9]+)")
#: What a restore has moved aside is not part of the installation.
ASIDE: Final = "before_restore_"
#: Contents are ciphertext, which does not shrink: a higher level costs time alone.
_DUMP: Final = ("--format=custom", "--compress=1", "--no-owner", "--no-privileges", f"--exclude-schema={ASIDE}*")
_RESTORE: Final = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")


async def server_version(url: str) -> int:
    """The major version of the server. Raises OSError and errors of asyncpg when it cannot be reached."""
    connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    try:
        number: str = await connection.fetchval("SHOW server_version_num")
        return int(number) // 10_000
    finally:
        await connection.close()


def require_program(name: Program, server: int) -> None:
    """Raises BackupError when the program is missing or older than the server."""
    program = shutil.which(name)
    if program is None:
        raise BackupError(
            f"{name} is not installed: install the client programs of PostgreSQL {server} or newer (Debian: postgresql-client-{server})."
        )
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603  # nosec B603 - found in the path
    found = _VERSION.search(said)
    if found is None or int(found[1]) < server:
        version = found[1] if found else "of an unknown version"
        raise BackupError(
            f"{name} is {version}, and the server is PostgreSQL {server}: install client programs that are as new as the server."
        )


@contextmanager
def dumping(url: str) -> Iterator[BinaryIO]:
    """The dump as a stream. Raises BackupError at the end of the block when pg_dump failed."""
    with _running("pg_dump", url, _DUMP) as process:
        yield cast("BinaryIO", process.stdout)


async def copy_postgres(url: str, file: Path) -> None:
    """Write a dump into a new file of mode 0600. Raises BackupError when pg_dump fails, OperationRefused when the file exists, OSError."""
    require_program("pg_dump", await server_version(url))
    await asyncio.to_thread(_write_dump, url, file)


def _write_dump(url: str, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OperationRefused(
            f"{file} exists, and would be replaced by the new copy: move it, or choose another name."
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as target, dumping(url) as dump:
            shutil.copyfileobj(dump, target, _COPY_BYTES)
            os.fsync(target.fileno())
    except BaseException:
        file.unlink()
        raise


@contextmanager
def loading(url: str) -> Iterator[BinaryIO]:
    """A stream that takes a dump into an empty database, in one transaction that commits at the end of the block. Raises BackupError when pg_restore failed."""
    with _running("pg_restore", url, _RESTORE) as process:
        yield cast("BinaryIO", process.stdin)


class DumpReader:
    """A pg_restore that reads a dump to its end and changes nothing; without that program every dump counts as readable."""

    def __init__(self) -> None:
        program = shutil.which("pg_restore")
        words = [program, "--file=/dev/null"] if program else None
        self._process = words and subprocess.Popen(  # noqa: S603  # nosec B603 - found in the path
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def read(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.write(piece)

    def end(self) -> bool:
        """Whether the dump was readable."""
        if not self._process:
            return True
        with suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        return self._process.wait() == 0


@contextmanager
def _running(name: Program, url: str, options: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    is_reading = name == "pg_dump"
    with _without_password(url) as target, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # nosec B603 - found in the path; the URL is one argument
            [shutil.which(name) or name, *options, f"--dbname={target}"],
            stdin=subprocess.DEVNULL if is_reading else subprocess.PIPE,
            stdout=subprocess.PIPE if is_reading else subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            yield process
        except BrokenPipeError:
            # It has ended early, and says why.
            pass
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for end in (process.stdin, process.stdout):
                if end is not None:
                    with suppress(BrokenPipeError):
                        end.close()
        if process.wait() != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
            raise BackupError(f"{name} failed: {' '.join(line.strip() for line in lines[:3]).strip()}")


@contextmanager
def _without_password(url: str) -> Iterator[str]:
    """The URL without its password, which is in a file that the URL names."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if not colon:
        yield url
        return
    escaped = unquote(password).replace("\\", "\\\\").replace(":", "\\:")
    with tempfile.NamedTemporaryFile("w", prefix="vyry-") as file:
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        query = "&".join(filter(None, (parts.query, urlencode({"passfile": file.name}))))
        yield urlunsplit(parts._replace(netloc=f"{name}{at}{host}", query=query))
