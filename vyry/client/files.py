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

from vyry.client.blobs import Blobs, Patience
from vyry.client.device import Me
from vyry.client.events import Attachment, Target
from vyry.client.journal import Journal
from vyry.client.left_over import LeftOver
from vyry.client.messages import Messages
from vyry.client.outgoing import new_id
from vyry.client.packing import pack
from vyry.client.reading import media_type as read_media_type
from vyry.client.reading import read_attachment
from vyry.client.refusals import Unreachable
from vyry.client.rest import Rest
from vyry.client.saving import cut, open_into, part_of, place, write
from vyry.client.spool import DAYS, Spool, Waiting, disk
from vyry.client.store import DAY, Store
from vyry.signal_protocol.attachments import sealed_size
from vyry.signal_protocol.refusals import AttachmentBroken, AttachmentTruncated, UnknownVersion


Progress = Callable[[int, int], None]
_ANYTHING: Final = "application/octet-stream"
#: By the words and the file: the id under which they were said last.
_SAID: Final = "file said"


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
    progress: Progress | None


class Files:
    """Sends and fetches. `progress` is told how many bytes of the sealed file are across, of how many."""

    def __init__(
        self, store: Store, rest: Rest, messages: Messages, now: Callable[[], int], left_over: LeftOver
    ) -> None:
        self._store = store
        self._now = now
        self._left_over = left_over
        self._journal = Journal(store)
        self._spool = Spool(store, now)
        self._blobs = Blobs(rest)
        self._waits = rest.waits
        self._messages = messages
        #: One upload at a time: two of the same file would be two of the same blob.
        self._turn = asyncio.Lock()

    async def send(
        self, conversation_id: UUID, path: Path | Stream, text: str = "", **how: Unpack[SendOptions]
    ) -> UUID:
        """Upload a file and say so; answers the content's id. Under an `id` that was said before, nothing is uploaded and nothing said.

        Whatever broke it off, the same file sent again with the same words goes on where it was, without an id too: also when its message waited to be sent as this profile was opened. Raises as `upload`, TooLarge.
        """
        content_id, reply_to = how.get("id"), how.get("reply_to")
        async with self._turn:
            if content_id is not None and self._is_said(content_id):
                return content_id
            waiting, kind, name = await self._sealed(path, how.get("media_type"))
            words = sha256(pack((conversation_id, text, reply_to, waiting.content))).digest()
            if content_id is None and (left := self._left(words)) is not None:
                content_id = left
            else:
                waiting, content_id = self._named(waiting, words, content_id)
            if not self._is_said(content_id):
                waiting = await self._carry(waiting, how.get("progress"))
                pointers = [_pointer(waiting, kind, name)]
                await self._messages.text(conversation_id, text, reply_to=reply_to, attachments=pointers, id=content_id)
            await asyncio.to_thread(self._spool.drop, waiting)
        return content_id

    async def upload(
        self, path: Path | Stream, media_type: str | None = None, progress: Progress | None = None
    ) -> Attachment:
        """Upload a file, sealed under a key of its own; what it answers goes into `messages.text(attachments=[...])`. Raises BadContent for what is no media type, FileFailed, StoreFull, Refused, Unreachable."""
        async with self._turn:
            waiting, kind, name = await self._sealed(path, media_type)
            waiting = await self._carry(waiting, progress)
            await asyncio.to_thread(self._spool.drop, waiting)
        return _pointer(waiting, kind, name)

    async def download(
        self, attachment: Attachment | Mapping[str, Any], path: Path, progress: Progress | None = None
    ) -> Path:
        """Fetch a file into a folder, under its own name, or to a path where nothing is yet; answers where it is. A download that broke off goes on where it was.

        Nothing has the name before every byte was checked. Raises BadContent for what is no pointer; AttachmentBroken, AttachmentTruncated, UnknownVersion; FileThere, FileFailed, StoreFull, Refused, Unreachable.
        """
        pointer = attachment if isinstance(attachment, Attachment) else read_attachment(attachment)
        final = await asyncio.to_thread(place, pointer, path)
        is_numbered = final != path
        with part_of(pointer.attachment_id, final.parent) as part:
            while True:
                begun = await self._fetch(pointer, part, progress)
                try:
                    return await asyncio.to_thread(open_into, part, pointer, final, is_numbered=is_numbered)
                except (AttachmentBroken, UnknownVersion):
                    await asyncio.to_thread(cut, part, 0)
                    if not begun:
                        raise
                    # Once more: what lay there from before need not have been of this file.

    def _is_said(self, content_id: UUID) -> bool:
        return self._journal.known(content_id, Me.of(self._store).user_id) is not None

    def _left(self, words: bytes) -> UUID | None:
        """The id of these words with this file, if they waited to be sent as the profile was opened."""
        kept = self._store.get(_SAID, words.hex())
        said = UUID(bytes=kept) if kept is not None else None
        return said if said in self._left_over.ids else None

    def _named(self, waiting: Waiting, words: bytes, content_id: UUID | None) -> tuple[Waiting, UUID]:
        """The id of what is said with the file, kept before it is uploaded: said again after a kill it is the same."""
        if waiting.said is not None and waiting.said[0] == words and content_id in (None, waiting.said[1]):
            return waiting, waiting.said[1]
        content_id = content_id or new_id(self._now())
        waiting = replace(waiting, said=(words, content_id))
        with self._store.transaction():
            self._spool.keep(waiting)
            self._store.put(_SAID, words.hex(), content_id.bytes, until=self._now() + DAYS * DAY)
        return waiting, content_id

    async def _sealed(self, path: Path | Stream, media_type: str | None) -> tuple[Waiting, str, str | None]:
        """The file as it waits to be uploaded, its media type, and its name."""
        # A name that is no Unicode goes as far as it is.
        name = path.name.encode(errors="replace").decode() if path.name else None
        kind = media_type or (mimetypes.guess_type(name)[0] if name else None) or _ANYTHING
        read_media_type({"mediaType": kind})
        most_bytes = await self._blobs.most_bytes()
        with _opened(path) as source:
            waiting = await self._spool.seal(source, most_bytes)
        return waiting, kind, name

    async def _carry(self, waiting: Waiting, progress: Progress | None) -> Waiting:
        patience, at = Patience(self._waits), 0
        while True:
            try:
                waiting, at = await self._found(waiting)
                if at == waiting.length:
                    _tell(progress, at, waiting.length)
                    return waiting
                assert waiting.attachment_id is not None
                await self._blobs.add(waiting.attachment_id, at, self._rest_of(waiting, at, progress))
            except Unreachable as away:
                await patience.wait(away, at)

    async def _found(self, waiting: Waiting) -> tuple[Waiting, int]:
        """The upload and how far it is; begun at the node if it was not, or is no more."""
        if waiting.attachment_id is not None:
            at = await self._blobs.offset(waiting.attachment_id, waiting.length)
            if at is not None:
                return waiting, at
        waiting = replace(waiting, attachment_id=await self._blobs.begin(waiting.length))
        self._spool.keep(waiting)
        return waiting, 0

    async def _rest_of(self, waiting: Waiting, at: int, progress: Progress | None) -> AsyncIterator[bytes]:
        _tell(progress, at, waiting.length)
        async for piece in self._spool.pieces(waiting, at):
            yield piece
            at += len(piece)
            _tell(progress, at, waiting.length)

    async def _fetch(self, pointer: Attachment, part: BinaryIO, progress: Progress | None) -> int:
        """Have the whole blob in the part; answers how much lay there before."""
        length = sealed_size(pointer.size)
        begun = at = os.fstat(part.fileno()).st_size
        if at > length:
            begun = at = 0
        await asyncio.to_thread(cut, part, at)
        patience = Patience(self._waits)
        while at < length:
            try:
                await self._fetch_more(pointer, part, progress)
            except Unreachable as away:
                await patience.wait(away, os.fstat(part.fileno()).st_size)
            at = os.fstat(part.fileno()).st_size
        return begun

    async def _fetch_more(self, pointer: Attachment, part: BinaryIO, progress: Progress | None) -> None:
        length, at = sealed_size(pointer.size), os.fstat(part.fileno()).st_size
        async with self._blobs.fetch(pointer.attachment_id, at, length) as down:
            at = down.start
            await asyncio.to_thread(cut, part, at)
            _tell(progress, at, length)
            async for piece in down.pieces():
                at += len(piece)
                if at > length:
                    raise AttachmentBroken
                await asyncio.to_thread(write, part, piece)
                _tell(progress, at, length)
        if at < length:
            raise AttachmentTruncated


@contextmanager
def _opened(path: Path | Stream) -> Iterator[BinaryIO]:
    if isinstance(path, Stream):
        yield path.source
        return
    with disk(f"{path}"):
        opened = path.open("rb")
    with opened:
        yield opened


def _pointer(waiting: Waiting, kind: str, name: str | None) -> Attachment:
    assert waiting.attachment_id is not None
    return Attachment(waiting.attachment_id, waiting.key, waiting.digest, waiting.size, kind, name)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
