"""What was opened under the keys used last, so that a repeated message can be told from a sender that used a key twice (sections 5 and 8).

A sender whose state was copied or restored seals two messages under one key. The second is no repetition: dropped in silence it would be lost, and nobody told.
"""

import hmac
from hashlib import sha256
from typing import Final

from vyry.signal_protocol.refusals import DuplicateMessage, SenderRewound


#: So many messages are remembered in a session, and in a generation of a sender key.
MAX_REMEMBERED: Final = 200
#: One of them: 8 bytes of position, and 8 of a hash of its content. They are kept as one text of bytes, oldest first: a state is read and written for each message.
_PART: Final = 8
_RECORD: Final = 2 * _PART


def check_not_opened(opened: bytes, position: bytes, content: bytes) -> None:
    """Pass when no message of this position is remembered. Raises DuplicateMessage for the one that was opened, SenderRewound for any other."""
    at = opened.find(position)
    while at % _RECORD and at >= 0:
        # Found across two parts or in a hash.
        at = opened.find(position, at + 1)
    if at < 0:
        return
    known = opened[at + _PART : at + _RECORD]
    raise DuplicateMessage if hmac.compare_digest(known, short_digest(content)) else SenderRewound


def add_record(opened: bytes, position: bytes, content: bytes) -> bytes:
    """The last 200 opened, this one included."""
    return (opened + position + short_digest(content))[-MAX_REMEMBERED * _RECORD :]


def ratchet_position(ratchet_key: bytes, number: int) -> bytes:
    """Where a message stands in a session."""
    return short_digest(ratchet_key + number.to_bytes(4))


def group_position(iteration: int) -> bytes:
    """Where a message stands in a generation."""
    return iteration.to_bytes(_PART)


def short_digest(content: bytes) -> bytes:
    """SHA-256(content)[0..8)."""
    return sha256(content).digest()[:_PART]
