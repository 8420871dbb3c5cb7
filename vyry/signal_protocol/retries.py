"""The rules for messages that a device cannot open, and for what their sender may resend (section 7, "Retry").

Pure rules: the client asks them, records its requests, and stores the record together with what it sends.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar, Final, Self, TypeVar
from uuid import UUID

from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content, read_bytes, read_id
from vyry.signal_protocol.frame import ContentType
from vyry.signal_protocol.refusals import (
    BadContent,
    BadMessage,
    JumpTooFar,
    PrekeyUnknown,
    Refusal,
    SenderKeyUnknown,
    SenderRewound,
    SessionUnknown,
)
from vyry.signal_protocol.sender_keys import SENDER_KEY_ID_BYTES


#: Requests to one device in an hour, and one for each envelope.
RETRIES_PER_HOUR: Final = 5
#: How long sent contents are kept for retries, and how many.
SENT_MILLISECONDS: Final = 7 * 86_400_000
MAX_SENT: Final = 1_000
_HOUR: Final = 3_600_000
#: Mailboxes keep an envelope no longer than this, so no older one can arrive again.
_REMEMBERED: Final = 30 * 86_400_000


#: What identifies a device for the client: its address and keys.
Device = TypeVar("Device", bound=Hashable)


class Remedy(Enum):
    """How the sender is asked to resend."""

    BEGIN_ANEW = "send a `retry` in the session that is in use; the second time within an hour, or where none is, archive it, begin a new one, and send it there"
    SAME_SESSION = "send a `retry` in the session that there is"


def remedy(refusal: Refusal, content: bytes) -> Remedy | None:
    """What to do about a refused content; None: nothing, because a retry would not help, or would help an attacker."""
    if isinstance(refusal, SenderRewound):
        # Anyone may have forged it, the node too: it ends no session. A `retry` in this session makes the other side step its ratchet.
        return Remedy.SAME_SESSION
    is_group = content[1:2] == bytes([ContentType.SENDER_KEY])
    if is_group:
        return Remedy.SAME_SESSION if isinstance(refusal, SenderKeyUnknown | JumpTooFar) else None
    return Remedy.BEGIN_ANEW if isinstance(refusal, SessionUnknown | PrekeyUnknown | BadMessage | JumpTooFar) else None


@dataclass(frozen=True, slots=True)
class RetryHistory:
    """The envelopes that one device was asked for, and when (ms since 1970)."""

    envelopes: tuple[tuple[UUID, int], ...] = ()

    def may_ask(self, message_id: UUID, now: int) -> bool:
        """Whether the device may be asked for this envelope: once for each envelope, and five times an hour."""
        return len(self._recent(now)) < RETRIES_PER_HOUR and all(known != message_id for known, _ in self.envelopes)

    def has_recent(self, now: int) -> bool:
        """Whether the device was asked within an hour."""
        return bool(self._recent(now))

    def with_request(self, message_id: UUID, now: int) -> "RetryHistory":
        """The history with this request."""
        known = tuple(each for each in self.envelopes if now - each[1] <= _REMEMBERED)
        return replace(self, envelopes=(*known, (message_id, now)))

    def _recent(self, now: int) -> list[int]:
        return [at for _, at in self.envelopes if abs(now - at) < _HOUR]


@dataclass(frozen=True, slots=True)
class Retry:
    """A request to resend an envelope. `reason` is the name of the refusal."""

    KIND: ClassVar[str] = "retry"

    message_id: UUID
    reason: str
    sender_key_id: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of its content."""
        found = {"messageId": str(self.message_id), "reason": self.reason}
        return found if self.sender_key_id is None else {**found, "senderKeyId": encode_base64(self.sender_key_id)}

    @classmethod
    def read(cls, content: Content) -> Self:
        """The request in a content. Raises BadContent."""
        reason, key_id = content.fields.get("reason"), content.fields.get("senderKeyId")
        if content.kind != cls.KIND or not isinstance(reason, str):
            raise BadContent
        message_id = read_id(content.fields.get("messageId"))
        return cls(message_id, reason, None if key_id is None else read_bytes(key_id, SENDER_KEY_ID_BYTES))


@dataclass(frozen=True, slots=True)
class Resync:
    """The answer to a `retry` for something that can no longer be sent again."""

    KIND: ClassVar[str] = "resync"

    message_id: UUID

    def fields(self) -> dict[str, Any]:
        """The fields of its content."""
        return {"messageId": str(self.message_id)}

    @classmethod
    def read(cls, content: Content) -> Self:
        """The resync in a content. Raises BadContent."""
        if content.kind != cls.KIND:
            raise BadContent
        return cls(read_id(content.fields.get("messageId")))


def may_resend(addressed: Collection[Device], asker: Device, posted_at: int, now: int) -> bool:
    """Whether an own content may be resent: only to the device for which it was sealed, under the same identity key and IDH, for seven days."""
    return asker in addressed and now - posted_at <= SENT_MILLISECONDS


def as_resend(content: Content, message_id: UUID) -> Content:
    """The same content as the answer to a `retry` for that envelope: a device that has it recognizes its id and drops it."""
    return replace(content, fields={**content.fields, "resendOf": str(message_id)})
