"""Files that wait to be uploaded: sealed once, into the folder of the profile, so that an upload that goes on later carries the very same bytes."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO, Final
from uuid import UUID

from vyry.client.errors import FileFailed, Refused, StoreFull
from vyry.client.store import kinds
from vyry.client.store.database import DISK_FULL_ERRNOS
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.signal_protocol.attachments import AttachmentSealer, sealed_size
from vyry.signal_protocol.primitives import KEY_BYTES


#: How long an upload that nobody goes on with is kept.
KEEP_DAYS: Final = 7
#: So much of a file is in memory at a time.
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A sealed file: what opens it, where it lies, and under which id the node has begun to take it. `content` names the file by what is in it."""

    content: bytes = field(repr=False)
    key: bytes = field(repr=False)
    digest: bytes
    size: int
    blob: str
    attachment_id: UUID | None = None
    #: What is said with it (`said_with`), and under which id.
    said: tuple[bytes, UUID] | None = None

    @property
    def sealed_length(self) -> int:
        """Of the blob."""
        return sealed_size(self.size)


class UploadStore:
    """Keeps them. One file at a time: whoever calls sees to that."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._folder = store.folder / "uploads"

    async def seal(self, source: BinaryIO, most_bytes: int) -> PendingUpload:
        """Seal this file, under a key of its own; one whose upload has begun already goes on instead. Raises FileFailed, StoreFull, Refused for one that the node would not take."""
        await asyncio.to_thread(self._delete_unneeded)
        made = await self._seal_to_file(source, most_bytes)
        held = self._find_existing(made.content)
        if held is not None:
            await asyncio.to_thread(self._unlink, made)
            return held
        self.save(made)
        return made

    def save(self, waiting: PendingUpload) -> None:
        """From here on it goes on where it was, also after a restart."""
        self._store.put(kinds.UPLOAD, waiting.content.hex(), pack(waiting), until=self._now() + KEEP_DAYS * DAY_MS)

    def delete(self, waiting: PendingUpload) -> None:
        """It has arrived, and its key was told."""
        self._store.put(kinds.UPLOAD, waiting.content.hex(), None)
        self._unlink(waiting)

    async def chunks(self, waiting: PendingUpload, offset: int) -> AsyncIterator[bytes]:
        """The blob from there on."""
        with await asyncio.to_thread((self._folder / waiting.blob).open, "rb") as blob:
            blob.seek(offset)
            while piece := await asyncio.to_thread(blob.read, CHUNK_BYTES >> 2):
                yield piece

    def _find_existing(self, content: bytes) -> PendingUpload | None:
        kept = self._store.get(kinds.UPLOAD, content.hex())
        held = unpack(PendingUpload, kept) if kept else None
        with suppress(FileNotFoundError):
            if held and (self._folder / held.blob).stat().st_size == held.sealed_length:
                return held
        return None

    async def _seal_to_file(self, source: BinaryIO, most_bytes: int) -> PendingUpload:
        name = f"{secrets.token_hex(16)}.sealed"
        with translated_disk_errors(f"{self._folder}"):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as blob:
                return await _seal_into(blob, source, name, most_bytes)
        except BaseException:
            (self._folder / name).unlink(missing_ok=True)
            raise

    def _delete_unneeded(self) -> None:
        """What no upload needs: a seal that was broken off, and uploads whose time is over."""
        if not self._folder.is_dir():
            return
        needed = {unpack(PendingUpload, kept).blob for kept in self._store.all(kinds.UPLOAD)}
        for file in self._folder.iterdir():
            if file.name not in needed:
                file.unlink(missing_ok=True)

    def _unlink(self, waiting: PendingUpload) -> None:
        (self._folder / waiting.blob).unlink(missing_ok=True)


@contextmanager
def translated_disk_errors(what: str) -> Iterator[None]:
    """What the disk says, in one clear line. Raises StoreFull, FileFailed."""
    try:
        yield
    except OSError as failed:
        if failed.errno in DISK_FULL_ERRNOS:
            raise StoreFull(f"The disk is full, or takes no more of you: {what} could not be written.") from None
        raise FileFailed(f"{what} cannot be used ({failed.strerror}).") from None


async def _seal_into(blob: BinaryIO, source: BinaryIO, name: str, most_bytes: int) -> PendingUpload:
    key, content = secrets.token_bytes(KEY_BYTES), sha256()
    sealer = AttachmentSealer(key)
    while data := await asyncio.to_thread(_read, source):
        if sealed_size(sealer.size + len(data)) > most_bytes:
            told = f"A sealed file may have {most_bytes} bytes on this node."
            raise Refused(413, {"error_code": "PAYLOAD_TOO_LARGE", "error": told})
        content.update(data)
        await asyncio.to_thread(_write, blob, sealer.update(data))
    await asyncio.to_thread(_write, blob, sealer.finish())
    # The key is kept only for what would outlive a power cut.
    await asyncio.to_thread(os.fsync, blob.fileno())
    return PendingUpload(content.digest(), key, sealer.digest, sealer.size, name)


def _read(source: BinaryIO) -> bytes:
    with translated_disk_errors("The file"):
        return source.read(CHUNK_BYTES)


def _write(blob: BinaryIO, pieces: Iterator[bytes]) -> None:
    with translated_disk_errors("The sealed file"):
        for piece in pieces:
            write_all(blob, piece)


def write_all(file: BinaryIO, piece: bytes) -> None:
    """Write it to a file without a buffer, which may take less at a time."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]
