"""Fuzz targets of archives, and of the content that offers one: whatever bytes come, they are read whole or refused by name; what is read is written the same way again."""

import io
from typing import Final
from uuid import UUID

from vyry.client.crypto.content_parser import read_history_pointer
from vyry.client.history.entries import to_entry, to_event
from vyry.client.history.errors import ArchiveRefused, Damaged
from vyry.client.history.frames import Frame, MessagesFrame, pack_frame, unpack_frame
from vyry.client.history.reading import ArchiveReader
from vyry.client.history.sealing import MAX_FRAME, FrameSealer
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import read_content
from vyry.signal_protocol.refusals import Refusal


KEY: Final = bytes(range(32))
SALT: Final = bytes(32)
#: The account in whose conversation with itself a history is offered.
ACCOUNT: Final = UUID(int=1)


def archive(data: bytes) -> None:
    """The bytes of a file."""
    _read(data)


def history_frames(data: bytes) -> None:
    """The frames of an archive whose seals are right: each line is one, as an owner of the key could write it."""
    lines = data[:MAX_FRAME].split(b"\n")
    sealer = FrameSealer(KEY, SALT)
    sealed = [sealer.seal(line, is_last=number == len(lines)) for number, line in enumerate(lines, 1)]
    _read(sealer.prefix + b"".join(sealed))
    for line in lines:
        try:
            frame = unpack_frame(line)
        except Damaged:
            continue
        _check_round_trip(frame)


def history_offer(data: bytes) -> None:
    """The content `sync` with the pointer and key of an archive: exactly these, or refused."""
    try:
        sync = read_content(data, ACCOUNT).fields.get("sync")
        offered = sync.get("history") if isinstance(sync, dict) else None
        pointer, key = read_history_pointer(offered)
    except Refusal:
        return
    assert (len(key), len(pointer.key), len(pointer.digest)) == (32, 32, 32)
    written = {"attachment": pointer.as_json(), "key": encode_base64(key)}
    assert read_history_pointer(written) == (pointer, key)
    assert written == offered


def _read(content: bytes) -> None:
    reader = ArchiveReader(io.BytesIO(content), KEY)
    try:
        summary = reader.verify()
    except ArchiveRefused:
        return
    assert next(frame for frame, _, _, _ in reader.frames()) == summary.header


def _check_round_trip(frame: Frame) -> None:
    assert unpack_frame(pack_frame(frame)) == frame
    if not isinstance(frame, MessagesFrame):
        return
    for entry in frame.entries:
        try:
            event = to_event(entry, frame.conversation_id, entry.sender_id)
        except (Damaged, Refusal):
            continue
        written = to_entry(event)
        if written is not None:
            assert to_event(written, frame.conversation_id, entry.sender_id) == event
