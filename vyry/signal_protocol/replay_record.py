"""Records of recently opened messages: they distinguish a repeated message from a second one under the same key (sections 5 and 8).

A sender whose state was copied or restored seals two messages under one key. The second is no repetition: dropped silently it would be lost unnoticed.
"""

import hmac
from hashlib import sha256
from typing import Final

from vyry.signal_protocol.refusals import DuplicateMessage, SenderRewound


#: Records of a session, and of a generation of a sender key.
MAX_REMEMBERED: Final = 200
#: A record: 8 bytes of position, and 8 of a hash of the content. They are one byte string, oldest first: a state is read and written for each message.
_PART: Final = 8
_RECORD: Final = 2 * _PART


def check_not_opened(opened: bytes, position: bytes, content: bytes) -> None:
    """Returns if no message of this position was opened. Raises DuplicateMessage for the same message, SenderRewound for another one."""
    at = opened.find(position)
    while at % _RECORD and at >= 0:
        # Not at the start of a record.
        at = opened.find(position, at + 1)
    if at < 0:
        return
    known = opened[at + _PART : at + _RECORD]
    raise DuplicateMessage if hmac.compare_digest(known, short_digest(content)) else SenderRewound


def add_record(opened: bytes, position: bytes, content: bytes) -> bytes:
    """The records with this message, at most the last 200."""
    return (opened + position + short_digest(content))[-MAX_REMEMBERED * _RECORD :]


def ratchet_position(ratchet_key: bytes, number: int) -> bytes:
    """The position of a message in a session."""
    return short_digest(ratchet_key + number.to_bytes(4))


def group_position(iteration: int) -> bytes:
    """The position of a message in a generation."""
    return iteration.to_bytes(_PART)


def short_digest(content: bytes) -> bytes:
    """SHA-256(content)[0..8)."""
    return sha256(content).digest()[:_PART]
