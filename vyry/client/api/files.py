"""Attachments: sealed while they are read, uploaded and downloaded with resumption, and verified before they get their name."""

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, TypedDict, Unpack
from uuid import UUID

from vyry.client.api.messages import Messages
from vyry.client.crypto.content_parser import read_attachment, read_media_type
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import Unreachable
from vyry.client.store import kinds
from vyry.client.store.downloads import append, choose_path, decrypt_to, open_part, truncate
from vyry.client.store.events import Attachment, Target
from vyry.client.store.journal import Journal
from vyry.client.store.outgoing import UnsentMessages
from vyry.client.store.packing import pack
from vyry.client.store.store import DAY_MS, Store
from vyry.client.store.uploads import KEEP_DAYS, PendingUpload, UploadStore, translated_disk_errors
from vyry.client.transport.attachment_transfer import AttachmentTransfer, Backoff
from vyry.client.transport.rest import RestClient
from vyry.kernel.ids import new_id
from vyry.signal_protocol.attachments import sealed_size
from vyry.signal_protocol.refusals import AttachmentBroken, AttachmentTruncated, UnknownVersion


ProgressCallback = Callable[[int, int], None]
_DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Stream:
    """A source of bytes that is not a file, and the name to send it under."""

    source: BinaryIO
    name: str | None = None


class SendOptions(TypedDict, total=False):
    """How a file is sent: its content `id`, media type, the message it replies to, and the progress callback."""

    id: UUID | None
    media_type: str | None
    reply_to: Target | None
    progress: ProgressCallback | None


class Files:
    """Sends and fetches attachments. `progress` receives the sealed bytes transferred so far and the total."""

    def __init__(
        self,
        store: Store,
        rest: RestClient,
        messages: Messages,
        now: Callable[[], int],
        unsent_messages: UnsentMessages,
    ) -> None:
        self._store = store
        self._now = now
        self._unsent_messages = unsent_messages
        self._journal = Journal(store)
        self._uploads = UploadStore(store, now)
        self._transfer = AttachmentTransfer(rest)
        self._waits = rest.waits
        self._messages = messages
        #: One upload at a time: two of the same file would create two blobs.
        self._lock = asyncio.Lock()

    async def send(
        self, conversation_id: UUID, path: Path | Stream, text: str = "", **how: Unpack[SendOptions]
    ) -> UUID:
        """Upload a file and send it as a message; returns the content's id. An `id` that was sent before uploads and sends nothing.

        After an interruption the same file with the same text resumes, also without an id and also when its message was queued when this profile was opened. Raises as `upload`, TooLarge.
        """
        content_id, reply_to = how.get("id"), how.get("reply_to")
        async with self._lock:
            if content_id is not None and self._is_sent(content_id):
                return content_id
            upload, kind, name = await self._prepare_upload(path, how.get("media_type"))
            digest = sha256(pack((conversation_id, text, reply_to, upload.content))).digest()
            if content_id is None and (unsent_id := self._find_unsent(digest)) is not None:
                content_id = unsent_id
            else:
                upload, content_id = self._assign_content_id(upload, digest, content_id)
            if not self._is_sent(content_id):
                upload = await self._upload(upload, how.get("progress"))
                pointers = [_pointer(upload, kind, name)]
                await self._messages.text(conversation_id, text, reply_to=reply_to, attachments=pointers, id=content_id)
            await asyncio.to_thread(self._uploads.delete, upload)
        return content_id

    async def upload(
        self, path: Path | Stream, media_type: str | None = None, progress: ProgressCallback | None = None
    ) -> Attachment:
        """Upload a file, sealed under its own key; pass the result to `messages.text(attachments=[...])`. Raises BadContent for an invalid media type, FileFailed, StoreFull, Refused, Unreachable."""
        async with self._lock:
            pending, kind, name = await self._prepare_upload(path, media_type)
            pending = await self._upload(pending, progress)
            await asyncio.to_thread(self._uploads.delete, pending)
        return _pointer(pending, kind, name)

    async def download(
        self, attachment: Attachment | Mapping[str, Any], path: Path, progress: ProgressCallback | None = None
    ) -> Path:
        """Download into a folder under the file's own name, or to a path that does not exist yet; returns the path. An interrupted download resumes.

        The file gets its name only after every byte was verified. Raises BadContent for an invalid pointer; AttachmentBroken, AttachmentTruncated, UnknownVersion; FileAlreadyExists, FileFailed, StoreFull, Refused, Unreachable.
        """
        pointer = attachment if isinstance(attachment, Attachment) else read_attachment(attachment)
        final = await asyncio.to_thread(choose_path, pointer, path)
        is_numbered = final != path
        with open_part(pointer.attachment_id, final.parent) as part:
            while True:
                present = await self._fetch(pointer, part, progress)
                try:
                    return await asyncio.to_thread(decrypt_to, part, pointer, final, is_numbered=is_numbered)
                except (AttachmentBroken, UnknownVersion):
                    await asyncio.to_thread(truncate, part, 0)
                    if not present:
                        raise
                    # Try once more: bytes of an earlier download may be of another file.

    def _is_sent(self, content_id: UUID) -> bool:
        return self._journal.find_content(content_id, LocalDevice.load(self._store).user_id) is not None

    def _find_unsent(self, digest: bytes) -> UUID | None:
        """The id of the message with this text and file, if it was queued when the profile was opened."""
        packed = self._store.get(kinds.FILE_CONTENT_ID, digest.hex())
        content_id = UUID(bytes=packed) if packed is not None else None
        return content_id if content_id in self._unsent_messages.ids else None

    def _assign_content_id(
        self, upload: PendingUpload, digest: bytes, content_id: UUID | None
    ) -> tuple[PendingUpload, UUID]:
        """The content id of the message with this file, stored before the upload: a repetition after a crash has the same id."""
        if upload.said is not None and upload.said[0] == digest and content_id in (None, upload.said[1]):
            return upload, upload.said[1]
        content_id = content_id or new_id(self._now())
        upload = replace(upload, said=(digest, content_id))
        with self._store.transaction():
            self._uploads.save(upload)
            self._store.put(
                kinds.FILE_CONTENT_ID, digest.hex(), content_id.bytes, until=self._now() + KEEP_DAYS * DAY_MS
            )
        return upload, content_id

    async def _prepare_upload(
        self, path: Path | Stream, media_type: str | None
    ) -> tuple[PendingUpload, str, str | None]:
        """The pending upload of the file, its media type, and its name."""
        # A name that is not valid Unicode is sent with replacement characters.
        name = path.name.encode(errors="replace").decode() if path.name else None
        kind = media_type or (mimetypes.guess_type(name)[0] if name else None) or _DEFAULT_MEDIA_TYPE
        read_media_type({"mediaType": kind})
        most_bytes = await self._transfer.max_bytes()
        with _open_source(path) as source:
            upload = await self._uploads.seal(source, most_bytes)
        return upload, kind, name

    async def _upload(self, upload: PendingUpload, progress: ProgressCallback | None) -> PendingUpload:
        backoff, offset = Backoff(self._waits), 0
        while True:
            try:
                upload, offset = await self._resume_or_create(upload)
                if offset == upload.sealed_length:
                    _report_progress(progress, offset, upload.sealed_length)
                    return upload
                assert upload.attachment_id is not None
                await self._transfer.append(
                    upload.attachment_id, offset, self._remaining_chunks(upload, offset, progress)
                )
            except Unreachable as problem:
                await backoff.wait(problem, offset)

    async def _resume_or_create(self, upload: PendingUpload) -> tuple[PendingUpload, int]:
        """The upload and its offset; created on the node if it was not, or has expired there."""
        if upload.attachment_id is not None:
            offset = await self._transfer.upload_offset(upload.attachment_id, upload.sealed_length)
            if offset is not None:
                return upload, offset
        upload = replace(upload, attachment_id=await self._transfer.create_upload(upload.sealed_length))
        self._uploads.save(upload)
        return upload, 0

    async def _remaining_chunks(
        self, upload: PendingUpload, offset: int, progress: ProgressCallback | None
    ) -> AsyncIterator[bytes]:
        _report_progress(progress, offset, upload.sealed_length)
        async for piece in self._uploads.chunks(upload, offset):
            yield piece
            offset += len(piece)
            _report_progress(progress, offset, upload.sealed_length)

    async def _fetch(self, pointer: Attachment, part: BinaryIO, progress: ProgressCallback | None) -> int:
        """Download the whole blob into the part file; returns how many bytes were there before."""
        length = sealed_size(pointer.size)
        present = offset = os.fstat(part.fileno()).st_size
        if offset > length:
            present = offset = 0
        await asyncio.to_thread(truncate, part, offset)
        backoff = Backoff(self._waits)
        while offset < length:
            try:
                await self._fetch_more(pointer, part, progress)
            except Unreachable as problem:
                await backoff.wait(problem, os.fstat(part.fileno()).st_size)
            offset = os.fstat(part.fileno()).st_size
        return present

    async def _fetch_more(self, pointer: Attachment, part: BinaryIO, progress: ProgressCallback | None) -> None:
        length, offset = sealed_size(pointer.size), os.fstat(part.fileno()).st_size
        async with self._transfer.fetch(pointer.attachment_id, offset, length) as stream:
            offset = stream.start
            await asyncio.to_thread(truncate, part, offset)
            _report_progress(progress, offset, length)
            async for piece in stream.chunks():
                offset += len(piece)
                if offset > length:
                    raise AttachmentBroken
                await asyncio.to_thread(append, part, piece)
                _report_progress(progress, offset, length)
        if offset < length:
            raise AttachmentTruncated


@contextmanager
def _open_source(path: Path | Stream) -> Iterator[BinaryIO]:
    if isinstance(path, Stream):
        yield path.source
        return
    with translated_disk_errors(f"{path}"):
        opened = path.open("rb")
    with opened:
        yield opened


def _pointer(upload: PendingUpload, kind: str, name: str | None) -> Attachment:
    assert upload.attachment_id is not None
    return Attachment(upload.attachment_id, upload.key, upload.digest, upload.size, kind, name)


def _report_progress(progress: ProgressCallback | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
