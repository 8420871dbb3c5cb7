"""What was opened under the keys used last, so that a repeated message can be told from a sender that used a key twice (sections 5 and 8).

A sender whose state was copied or restored seals two messages under one key. The second is no repetition: dropped in silence it would be lost, and nobody told.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, TypeVar

from vyry.signal_protocol.refusals import DuplicateMessage, SenderRewound


#: So many messages are remembered in a session, and in a generation of a sender key.
MAX_REMEMBERED: Final = 200
#: Of SHA-256.
DIGEST_BYTES: Final = 8

Position = TypeVar("Position", bytes, int)


def check_unspent(opened: Mapping[Position, bytes], position: Position, content: bytes) -> None:
    """Pass when no message of this position is remembered. Raises DuplicateMessage for the one that was opened, SenderRewound for any other."""
    known = opened.get(position)
    if known is None:
        return
    raise DuplicateMessage if hmac.compare_digest(known, short_digest(content)) else SenderRewound


def remembering(opened: Mapping[Position, bytes], position: Position, content: bytes) -> Mapping[Position, bytes]:
    """The last 200 opened, oldest first, this one included."""
    known = {**opened, position: short_digest(content)}
    for oldest in list(known)[: max(0, len(known) - MAX_REMEMBERED)]:
        del known[oldest]
    return known


def short_digest(content: bytes) -> bytes:
    """SHA-256(content)[0..8)."""
    return sha256(content).digest()[:DIGEST_BYTES]
