"""Reads an archive from a file: whole and verified, or from a place where reading stopped."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from uuid import UUID

from vyry.client.history.entries import to_event
from vyry.client.history.errors import CutArchive, Damaged
from vyry.client.history.frames import (
    FRAME_TYPES,
    AccountFrame,
    Contacts,
    ConversationsFrame,
    End,
    FilePart,
    Frame,
    Header,
    MessagesFrame,
    unpack_frame,
)
from vyry.client.history.sealing import LENGTH_BYTES, PREFIX_BYTES, FrameOpener


#: Receives the bytes read and all bytes.
Progress = Callable[[int, int], None]
_RANKS: Final = {kind: rank for rank, kind in enumerate(FRAME_TYPES)}
#: Frames that occur once.
_SINGLE: Final = (Header, AccountFrame, End)


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two frames: the byte, and the number of the next frame."""

    offset: int = PREFIX_BYTES
    number: int = 0


#: A frame, its bytes, whether it is the last, and the position behind it.
ReadFrame = tuple[Frame, bytes, bool, Position]
#: Before the first frame.
START: Final = Position()


@dataclass(frozen=True, slots=True)
class Summary:
    """A verified archive: its first two frames and its last."""

    archive_id: bytes
    header: Header
    account_id: UUID
    end: End


class FrameOrder:
    """Counts frames, and checks that they have the order of an archive and refer only to earlier frames. Raises Damaged."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.account: AccountFrame | None = None
        self._rank = -1
        self._conversations: set[UUID] = set()
        #: The file whose parts are not complete, and its bytes so far.
        self._file: tuple[UUID, int, int] | None = None
        self._counts: Counter[type[Frame]] = Counter()
        self._digest = hashlib.sha256()

    def add(self, frame: Frame, packed: bytes, *, is_last: bool) -> None:
        """The next frame."""
        rank = _RANKS[type(frame)]
        is_skipping = rank > self._rank + 1 and self._rank < _RANKS[AccountFrame]
        is_repeated = rank == self._rank and isinstance(frame, _SINGLE)
        if rank < self._rank or is_skipping or is_repeated or is_last != isinstance(frame, End):
            raise Damaged
        self._rank = rank
        if self._file is not None and not isinstance(frame, FilePart):
            raise Damaged
        if isinstance(frame, Header):
            self.header = frame
        elif isinstance(frame, AccountFrame):
            self.account = frame
        else:
            self._check_content(frame)
        self._digest.update(len(packed).to_bytes(LENGTH_BYTES) + packed)

    def end(self) -> End:
        """The end frame that belongs behind the frames so far."""
        counts = self._counts
        return End(
            counts[Contacts], counts[ConversationsFrame], counts[MessagesFrame], counts[FilePart], self._digest.digest()
        )

    def _check_content(self, frame: Frame) -> None:
        match frame:
            case Contacts(contacts=contacts):
                self._counts[Contacts] += len(contacts)
            case ConversationsFrame():
                self._check_conversations(frame)
            case MessagesFrame(conversation_id=conversation_id, entries=entries):
                _require(conversation_id in self._conversations)
                self._counts[MessagesFrame] += len(entries)
            case FilePart():
                self._check_part(frame)
            case End():
                _require(_is_same(frame, self.end()))
            case _:
                return

    def _check_conversations(self, frame: ConversationsFrame) -> None:
        ids = {each.conversation_id for each in frame.conversations}
        _require(len(ids) == len(frame.conversations) and ids.isdisjoint(self._conversations))
        self._conversations |= ids
        self._counts[ConversationsFrame] += len(ids)

    def _check_part(self, part: FilePart) -> None:
        through = part.offset + len(part.data)
        _require((part.attachment_id, part.size, part.offset) == (self._file or (part.attachment_id, part.size, 0)))
        self._file = (part.attachment_id, part.size, through) if through < part.size else None
        self._counts[FilePart] += self._file is None


@dataclass(slots=True)
class ArchiveReader:
    """Reads the frames of an open file under a key."""

    file: BinaryIO = field(repr=False)
    key: bytes = field(repr=False)

    def frames(self, start: Position = START) -> Iterator[ReadFrame]:
        """Each frame from `start` on. Raises ArchiveRefused."""
        self.file.seek(0)
        opener = FrameOpener(self.key, self.file.read(PREFIX_BYTES), start.number)
        position, is_last = start, False
        while not is_last:
            # Another loop may read the same file.
            self.file.seek(position.offset)
            length = self.file.read(LENGTH_BYTES)
            size = opener.sealed_size(length)
            packed, is_last = opener.open(length, self.file.read(size))
            position = Position(position.offset + LENGTH_BYTES + size, opener.number)
            yield unpack_frame(packed), packed, is_last, position
        self.file.seek(position.offset)
        if self.file.read(1):
            raise Damaged

    def verify(self, progress: Progress | None = None) -> Summary:
        """Read the whole archive and check every frame and content, their order, the counts and the digest. Raises ArchiveRefused."""
        total = self.file.seek(0, 2)
        order, end = FrameOrder(), None
        for frame, packed, is_last, position in self.frames():
            order.add(frame, packed, is_last=is_last)
            if isinstance(frame, MessagesFrame) and order.account is not None:
                for entry in frame.entries:
                    to_event(entry, frame.conversation_id, order.account.user_id)
            if progress is not None:
                progress(position.offset, total)
            if isinstance(frame, End):
                end = frame
        if order.header is None or order.account is None or end is None:
            raise CutArchive
        return Summary(self.archive_id(), order.header, order.account.user_id, end)

    def archive_id(self) -> bytes:
        """Names the archive: 16 bytes of the hash of its prefix, which has a random salt."""
        self.file.seek(0)
        return hashlib.sha256(self.file.read(PREFIX_BYTES)).digest()[:16]


def _require(is_valid: bool) -> None:  # noqa: FBT001  a condition
    if not is_valid:
        raise Damaged


def _is_same(stated: End, counted: End) -> bool:
    is_counted = stated.contacts == counted.contacts and stated.conversations == counted.conversations
    is_complete = is_counted and stated.messages == counted.messages and stated.files == counted.files
    return is_complete and hmac.compare_digest(stated.digest, counted.digest)
