"""Files to upload: sealed once into the folder of the profile, so that a resumed upload sends the same bytes."""

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


#: Days for which an interrupted upload is kept.
KEEP_DAYS: Final = 7
#: Bytes of a file in memory at a time.
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A sealed file: its key, its blob file, and its id on the node once the upload has started. `content` is the hash of the plain file."""

    content: bytes = field(repr=False)
    key: bytes = field(repr=False)
    digest: bytes
    size: int
    blob: str
    attachment_id: UUID | None = None
    #: Digest of the message that it belongs to (`Files._assign_content_id`), and the id of that message.
    said: tuple[bytes, UUID] | None = None

    @property
    def sealed_length(self) -> int:
        """The length of the blob."""
        return sealed_size(self.size)


class UploadStore:
    """Stores pending uploads. The caller handles one file at a time."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._folder = store.folder / "uploads"

    async def seal(self, source: BinaryIO, most_bytes: int) -> PendingUpload:
        """Seal this file under its own key; a file whose upload is pending resumes instead. Raises FileFailed, StoreFull, Refused for a file that is too large for the node."""
        await asyncio.to_thread(self._delete_unneeded)
        sealed = await self._seal_to_file(source, most_bytes)
        existing = self._find_existing(sealed.content)
        if existing is not None:
            await asyncio.to_thread(self._unlink, sealed)
            return existing
        self.save(sealed)
        return sealed

    def save(self, upload: PendingUpload) -> None:
        """Store it: the upload resumes after a restart."""
        self._store.put(kinds.UPLOAD, upload.content.hex(), pack(upload), until=self._now() + KEEP_DAYS * DAY_MS)

    def delete(self, upload: PendingUpload) -> None:
        """The file was uploaded and its key was sent."""
        self._store.put(kinds.UPLOAD, upload.content.hex(), None)
        self._unlink(upload)

    async def chunks(self, upload: PendingUpload, offset: int) -> AsyncIterator[bytes]:
        """The blob from this offset on."""
        with await asyncio.to_thread((self._folder / upload.blob).open, "rb") as blob:
            blob.seek(offset)
            while piece := await asyncio.to_thread(blob.read, CHUNK_BYTES >> 2):
                yield piece

    def _find_existing(self, content: bytes) -> PendingUpload | None:
        packed = self._store.get(kinds.UPLOAD, content.hex())
        upload = unpack(PendingUpload, packed) if packed else None
        with suppress(FileNotFoundError):
            if upload and (self._folder / upload.blob).stat().st_size == upload.sealed_length:
                return upload
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
        """Delete files that belong to no upload: an interrupted sealing, or an expired upload."""
        if not self._folder.is_dir():
            return
        needed = {unpack(PendingUpload, packed).blob for packed in self._store.all(kinds.UPLOAD)}
        for file in self._folder.iterdir():
            if file.name not in needed:
                file.unlink(missing_ok=True)

    def _unlink(self, upload: PendingUpload) -> None:
        (self._folder / upload.blob).unlink(missing_ok=True)


@contextmanager
def translated_disk_errors(what: str) -> Iterator[None]:
    """Turns errors of the file system into one line. Raises StoreFull, FileFailed."""
    try:
        yield
    except OSError as failed:
        if failed.errno in DISK_FULL_ERRNOS:
            raise StoreFull(f"The disk is full or your quota is exceeded: {what} was not written.") from None
        raise FileFailed(f"Cannot read or write {what} ({failed.strerror}).") from None


async def _seal_into(blob: BinaryIO, source: BinaryIO, name: str, most_bytes: int) -> PendingUpload:
    key, content = secrets.token_bytes(KEY_BYTES), sha256()
    sealer = AttachmentSealer(key)
    while data := await asyncio.to_thread(_read, source):
        if sealed_size(sealer.size + len(data)) > most_bytes:
            text = f"The file is too large: this node accepts at most {most_bytes} bytes after encryption."
            raise Refused(413, {"error_code": "PAYLOAD_TOO_LARGE", "error": text})
        content.update(data)
        await asyncio.to_thread(_write, blob, sealer.update(data))
    await asyncio.to_thread(_write, blob, sealer.finish())
    # The key is stored only once the file would survive a power cut.
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
    """Write all bytes to an unbuffered file, which may accept fewer at a time."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]
