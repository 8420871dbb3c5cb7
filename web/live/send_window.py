"""The entries sent on one connection and not acknowledged yet: bounded in entries and in bytes of content."""

from typing import Final

from vyry.mail.envelope import HEADER_BYTES
from vyry.mail.store import Entry


WINDOW_ENTRIES: Final = 256
WINDOW_BYTES: Final = 1 << 20


class SendWindow:
    """The unacknowledged entries of a connection that resumed after `seq`."""

    __slots__ = ("_bytes", "_entries", "_resume_point", "is_full", "sent")

    def __init__(self, seq: int, head: bytes) -> None:
        #: The highest sequence number sent, at first that of the hello.
        self.sent = seq
        #: The next entry did not fit: nothing can be sent before something is acknowledged.
        self.is_full = False
        self._resume_point = seq, head
        # A list, because an empty deque weighs 700 bytes, and most sockets are idle.
        self._entries: list[tuple[int, bytes, int]] = []
        self._bytes = 0

    def remaining(self) -> tuple[int, int]:
        """The entries and bytes of content that may still be sent."""
        return WINDOW_ENTRIES - len(self._entries), WINDOW_BYTES - self._bytes

    def fits(self, size: int) -> bool:
        """Whether one more entry with `size` bytes of content may be sent."""
        entries, octets = self.remaining()
        return entries > 0 and size <= octets

    def push(self, entry: Entry) -> None:
        """Add a sent entry."""
        size = content_size(entry)
        self._entries.append((entry.seq, entry.head, size))
        self._bytes += size
        self.sent = entry.seq

    def matches_head(self, seq: int, head: bytes) -> bool | None:
        """Whether `head` is the head of entry `seq`; None if the window does not contain that entry."""
        if seq == self._resume_point[0]:
            return head == self._resume_point[1]
        for number, known, _ in self._entries:
            if number >= seq:
                return known == head if number == seq else None
        return None

    def release(self, seq: int) -> bool:
        """Remove the entries up to an acknowledged `seq`. Returns whether there were any."""
        released = sum(number <= seq for number, _, _ in self._entries)
        if released:
            self._bytes -= sum(size for _, _, size in self._entries[:released])
            del self._entries[:released]
            self.is_full = False
        return released > 0


def content_size(entry: Entry) -> int:
    """The bytes of content of an entry; 0 for a loss."""
    return 0 if entry.packed is None else len(entry.packed) - HEADER_BYTES
