"""Parts of attachments in a folder, FOLDER/LAST TWO DIGITS OF THE ID/ID/PART. A part is written to a temporary file, synced, and renamed.

The work runs in threads of its own, so that a slow disk delays neither the event loop nor other threaded work of the node.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from vyry.attachments.attachment import AttachmentId
from vyry.errors import Unavailable
from vyry.kernel.atomic_files import sync_folder
from vyry.outage import OutageTracker


Result = TypeVar("Result")
_THREADS: Final = 4
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
#: The Retry-After of a full disk.
FULL_RETRY_SECONDS: Final = 60
#: The ids (UUIDv7) are random at the end.
_SHARDS: Final = tuple(f"{number:02x}" for number in range(256))


class DiskParts:
    """PartStore in a folder. It leaves `reserve_bytes` of the disk free, for the database may be on the same disk."""

    piece_bytes = 256 << 10

    def __init__(self, folder: Path, reserve_bytes: int = 0) -> None:
        self._folder = folder
        self._reserve = reserve_bytes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="attachments")
        self._outage = OutageTracker("attachments")

    async def check_capacity(self, length: int) -> None:
        await self._run(partial(self._check_space, length))

    async def put(self, attachment_id: AttachmentId, name: str, content: bytes | bytearray) -> None:
        await self._run(partial(self._write_part, self._folder_of(attachment_id), name, content))

    async def read(self, attachment_id: AttachmentId, name: str, start: int, length: int) -> bytes:
        content = await self._run(partial(_read, self._folder_of(attachment_id) / name, start, length))
        if len(content) != length:
            raise Unavailable("The stored attachment data is missing.")
        return content

    async def drop(self, attachment_id: AttachmentId, names: Collection[str]) -> None:
        await self._run(partial(_drop, self._folder_of(attachment_id), names))

    async def clear(self, attachment_id: AttachmentId, keep: Collection[str] = ()) -> None:
        await self._run(partial(_clear, self._folder_of(attachment_id), keep))

    async def list_attachments(self, after: str) -> tuple[Collection[AttachmentId], str]:
        shard = _SHARDS[_SHARDS.index(after) + 1] if after else _SHARDS[0]
        ids = await self._run(partial(_ids_in_shard, self._folder / shard))
        return ids, "" if shard == _SHARDS[-1] else shard

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except FileNotFoundError as error:
            raise Unavailable("The stored attachment data is missing.") from error
        except OSError as error:
            wait = self._outage.record_failure(error)
            if error.errno in _FULL:
                raise Unavailable("Attachment storage is full.", FULL_RETRY_SECONDS) from error
            raise Unavailable("Attachment storage is unavailable.", max(1, round(wait))) from error
        self._outage.record_success()
        return done

    def _folder_of(self, attachment_id: AttachmentId) -> Path:
        text = str(attachment_id)
        return self._folder / text[-2:] / text

    def _check_space(self, length: int) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < length + self._reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write_part(self, place: Path, name: str, content: bytes | bytearray) -> None:
        self._check_space(len(content))
        is_new = not place.exists()
        for each in (place.parent, place):
            each.mkdir(mode=0o700, exist_ok=True)
        half = place / f".{name}"
        try:
            _write(half, content)
        except OSError:
            with suppress(OSError):
                half.unlink()
            raise
        half.rename(place / name)
        for folder in (place, place.parent, self._folder) if is_new else (place,):
            sync_folder(folder)


def _write(path: Path, content: bytes | bytearray) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), length, start)


def _drop(place: Path, names: Collection[str]) -> None:
    for name in names:
        (place / name).unlink(missing_ok=True)
    # A folder that is not empty stays.
    with suppress(OSError):
        place.rmdir()


def _clear(place: Path, keep: Collection[str]) -> None:
    with suppress(FileNotFoundError):
        if not keep:
            shutil.rmtree(place)
            return
        for path in place.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)


def _ids_in_shard(shard: Path) -> list[AttachmentId]:
    """The attachments in one of the 256 folders; files with other names are ignored."""
    found = []
    with suppress(FileNotFoundError):
        for path in shard.iterdir():
            with suppress(ValueError):
                found.append(AttachmentId(UUID(path.name)))
    return found
