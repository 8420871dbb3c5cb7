"""Files: sealed as they are read, carried up and down with breaks in between, and whole and checked before they have a name."""

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
_ANYTHING: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes that come from no file, and what they are to be called."""

    source: BinaryIO
    name: str | None = None


class SendOptions(TypedDict, total=False):
    """How a file is sent: under which `id`, as which media type, in answer to what, and who is told how far it is."""

    id: UUID | None
    media_type: str | None
    reply_to: Target | None
    progress: ProgressCallback | None


class Files:
    """Sends and fetches. `progress` is told how many bytes of the sealed file are across, of how many."""

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
        #: One upload at a time: two of the same file would be two of the same blob.
        self._lock = asyncio.Lock()

    async def send(
        self, conversation_id: UUID, path: Path | Stream, text: str = "", **how: Unpack[SendOptions]
    ) -> UUID:
        """Upload a file and say so; answers the content's id. Under an `id` that was said before, nothing is uploaded and nothing said.

        Whatever broke it off, the same file sent again with the same words goes on where it was, without an id too: also when its message waited to be sent as this profile was opened. Raises as `upload`, TooLarge.
        """
        content_id, reply_to = how.get("id"), how.get("reply_to")
        async with self._lock:
            if content_id is not None and self._is_sent(content_id):
                return content_id
            waiting, kind, name = await self._prepare_upload(path, how.get("media_type"))
            words = sha256(pack((conversation_id, text, reply_to, waiting.content))).digest()
            if content_id is None and (left := self._find_unsent(words)) is not None:
                content_id = left
            else:
                waiting, content_id = self._assign_content_id(waiting, words, content_id)
            if not self._is_sent(content_id):
                waiting = await self._upload(waiting, how.get("progress"))
                pointers = [_pointer(waiting, kind, name)]
                await self._messages.text(conversation_id, text, reply_to=reply_to, attachments=pointers, id=content_id)
            await asyncio.to_thread(self._uploads.delete, waiting)
        return content_id

    async def upload(
        self, path: Path | Stream, media_type: str | None = None, progress: ProgressCallback | None = None
    ) -> Attachment:
        """Upload a file, sealed under a key of its own; what it answers goes into `messages.text(attachments=[...])`. Raises BadContent for what is no media type, FileFailed, StoreFull, Refused, Unreachable."""
        async with self._lock:
            waiting, kind, name = await self._prepare_upload(path, media_type)
            waiting = await self._upload(waiting, progress)
            await asyncio.to_thread(self._uploads.delete, waiting)
        return _pointer(waiting, kind, name)

    async def download(
        self, attachment: Attachment | Mapping[str, Any], path: Path, progress: ProgressCallback | None = None
    ) -> Path:
        """Fetch a file into a folder, under its own name, or to a path where nothing is yet; answers where it is. A download that broke off goes on where it was.

        Nothing has the name before every byte was checked. Raises BadContent for what is no pointer; AttachmentBroken, AttachmentTruncated, UnknownVersion; FileThere, FileFailed, StoreFull, Refused, Unreachable.
        """
        pointer = attachment if isinstance(attachment, Attachment) else read_attachment(attachment)
        final = await asyncio.to_thread(choose_path, pointer, path)
        is_numbered = final != path
        with open_part(pointer.attachment_id, final.parent) as part:
            while True:
                begun = await self._fetch(pointer, part, progress)
                try:
                    return await asyncio.to_thread(decrypt_to, part, pointer, final, is_numbered=is_numbered)
                except (AttachmentBroken, UnknownVersion):
                    await asyncio.to_thread(truncate, part, 0)
                    if not begun:
                        raise
                    # Once more: what lay there from before need not have been of this file.

    def _is_sent(self, content_id: UUID) -> bool:
        return self._journal.find_content(content_id, LocalDevice.load(self._store).user_id) is not None

    def _find_unsent(self, words: bytes) -> UUID | None:
        """The id of these words with this file, if they waited to be sent as the profile was opened."""
        kept = self._store.get(kinds.FILE_CONTENT_ID, words.hex())
        said = UUID(bytes=kept) if kept is not None else None
        return said if said in self._unsent_messages.ids else None

    def _assign_content_id(
        self, waiting: PendingUpload, words: bytes, content_id: UUID | None
    ) -> tuple[PendingUpload, UUID]:
        """The id of what is said with the file, kept before it is uploaded: said again after a kill it is the same."""
        if waiting.said is not None and waiting.said[0] == words and content_id in (None, waiting.said[1]):
            return waiting, waiting.said[1]
        content_id = content_id or new_id(self._now())
        waiting = replace(waiting, said=(words, content_id))
        with self._store.transaction():
            self._uploads.save(waiting)
            self._store.put(
                kinds.FILE_CONTENT_ID, words.hex(), content_id.bytes, until=self._now() + KEEP_DAYS * DAY_MS
            )
        return waiting, content_id

    async def _prepare_upload(
        self, path: Path | Stream, media_type: str | None
    ) -> tuple[PendingUpload, str, str | None]:
        """The file as it waits to be uploaded, its media type, and its name."""
        # A name that is no Unicode goes as far as it is.
        name = path.name.encode(errors="replace").decode() if path.name else None
        kind = media_type or (mimetypes.guess_type(name)[0] if name else None) or _ANYTHING
        read_media_type({"mediaType": kind})
        most_bytes = await self._transfer.max_bytes()
        with _open_source(path) as source:
            waiting = await self._uploads.seal(source, most_bytes)
        return waiting, kind, name

    async def _upload(self, waiting: PendingUpload, progress: ProgressCallback | None) -> PendingUpload:
        patience, at = Backoff(self._waits), 0
        while True:
            try:
                waiting, at = await self._resume_or_create(waiting)
                if at == waiting.sealed_length:
                    _report_progress(progress, at, waiting.sealed_length)
                    return waiting
                assert waiting.attachment_id is not None
                await self._transfer.append(waiting.attachment_id, at, self._remaining_chunks(waiting, at, progress))
            except Unreachable as away:
                await patience.wait(away, at)

    async def _resume_or_create(self, waiting: PendingUpload) -> tuple[PendingUpload, int]:
        """The upload and how far it is; begun at the node if it was not, or is no more."""
        if waiting.attachment_id is not None:
            at = await self._transfer.upload_offset(waiting.attachment_id, waiting.sealed_length)
            if at is not None:
                return waiting, at
        waiting = replace(waiting, attachment_id=await self._transfer.create_upload(waiting.sealed_length))
        self._uploads.save(waiting)
        return waiting, 0

    async def _remaining_chunks(
        self, waiting: PendingUpload, at: int, progress: ProgressCallback | None
    ) -> AsyncIterator[bytes]:
        _report_progress(progress, at, waiting.sealed_length)
        async for piece in self._uploads.chunks(waiting, at):
            yield piece
            at += len(piece)
            _report_progress(progress, at, waiting.sealed_length)

    async def _fetch(self, pointer: Attachment, part: BinaryIO, progress: ProgressCallback | None) -> int:
        """Have the whole blob in the part; answers how much lay there before."""
        length = sealed_size(pointer.size)
        begun = at = os.fstat(part.fileno()).st_size
        if at > length:
            begun = at = 0
        await asyncio.to_thread(truncate, part, at)
        patience = Backoff(self._waits)
        while at < length:
            try:
                await self._fetch_more(pointer, part, progress)
            except Unreachable as away:
                await patience.wait(away, os.fstat(part.fileno()).st_size)
            at = os.fstat(part.fileno()).st_size
        return begun

    async def _fetch_more(self, pointer: Attachment, part: BinaryIO, progress: ProgressCallback | None) -> None:
        length, at = sealed_size(pointer.size), os.fstat(part.fileno()).st_size
        async with self._transfer.fetch(pointer.attachment_id, at, length) as down:
            at = down.start
            await asyncio.to_thread(truncate, part, at)
            _report_progress(progress, at, length)
            async for piece in down.chunks():
                at += len(piece)
                if at > length:
                    raise AttachmentBroken
                await asyncio.to_thread(append, part, piece)
                _report_progress(progress, at, length)
        if at < length:
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


def _pointer(waiting: PendingUpload, kind: str, name: str | None) -> Attachment:
    assert waiting.attachment_id is not None
    return Attachment(waiting.attachment_id, waiting.key, waiting.digest, waiting.size, kind, name)


def _report_progress(progress: ProgressCallback | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
