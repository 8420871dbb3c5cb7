"""RFC 6455 where aiohttp 3.14 is more lenient: frames that its reader accepts against the RFC are rejected first. And the frames of the node's messages.

Rejected are frames without a mask (5.1), lengths written longer than need be (5.2), a new message in the middle of a fragmented one whose fragments so far
are empty (5.4), and close codes that no peer may send (7.4.1).
"""

from typing import Final, Protocol


#: A frame with reserved bits: the reader closes with 1002, after the frames before it.
_INVALID_FRAME: Final = b"\xf0\x80"
_CONTINUATION, _CLOSE = 0x0, 0x8
_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


_TEXT, _BINARY = 0x81, 0x82


def write_frame(payload: bytes, *, is_text: bool) -> bytes:
    """A whole message as one frame of a server: without a mask."""
    first, length = _TEXT if is_text else _BINARY, len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8) + payload


class FrameReader(Protocol):
    """aiohttp's interface for a reader of frames."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Parse bytes. The first item is True when the stream has ended."""

    def feed_eof(self) -> None:
        """The stream has ended."""


class _Violation(Exception):
    """The bytes are not a valid client frame."""


class FrameValidator:
    """Checks each frame header and passes the bytes on to the reader. A header and a close frame are passed on when complete."""

    __slots__ = ("_buffer", "_is_fragmented", "_is_violated", "_payload_left", "_reader")

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        #: An incomplete header or close frame.
        self._buffer = b""
        #: Remaining payload bytes of the current frame.
        self._payload_left = 0
        #: Whether a fragmented message is incomplete.
        self._is_fragmented = False
        self._is_violated = False

    def feed_eof(self) -> None:
        """The stream has ended."""
        self._reader.feed_eof()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Check the headers in these bytes and pass the bytes on. After a violation nothing is passed on."""
        if self._is_violated:
            return True, b""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        place, end = self._payload_left, len(data)
        try:
            while place < end:
                size = self._frame_size(data, place)
                if not size:
                    self._buffer, data = data[place:], data[:place]
                    end = place
                place += size
        except _Violation:
            self._is_violated = True
            return self._reader.feed_data(data[:place] + _INVALID_FRAME)
        self._payload_left = place - end
        return self._reader.feed_data(data)

    def _frame_size(self, data: bytes, place: int) -> int:
        """The size of the frame that starts here, header and payload; 0 if its header is incomplete. Raises _Violation."""
        there = len(data) - place
        if there < 2:
            return 0
        opcode, is_last = data[place] & 0x0F, data[place] >= 0x80
        if data[place + 1] < 0x80:
            raise _Violation
        length, header = data[place + 1] & 0x7F, 6
        if length >= 126:
            header = 8 if length == 126 else 14
            if there < header:
                return 0
            least, written = (
                (126, data[place + 2 : place + 4]) if header == 8 else (65_536, data[place + 2 : place + 10])
            )
            length = int.from_bytes(written)
            if length < least or length >= 1 << 63:
                raise _Violation
        if opcode == _CLOSE and length <= 125:
            return self._close_frame_size(data[place : place + header + length], header + length)
        if opcode < _CLOSE:
            self._check_fragmentation(opcode, is_last=is_last)
        return header + length

    def _check_fragmentation(self, opcode: int, *, is_last: bool) -> None:
        if (opcode == _CONTINUATION) is not self._is_fragmented:
            raise _Violation
        self._is_fragmented = not is_last

    @staticmethod
    def _close_frame_size(frame: bytes, size: int) -> int:
        if len(frame) < size:
            return 0
        if size >= 8:
            code = (frame[6] ^ frame[2]) << 8 | frame[7] ^ frame[3]
            if code not in _CLOSE_CODES:
                raise _Violation
        return size
