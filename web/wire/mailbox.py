"""Shapes of a mailbox as its device reads it (docs/protocol.md, "Mailbox")."""

from typing import Annotated, Literal

from pydantic import Field

from web.wire.notices import Notice
from web.wire.shapes import Base64, Base64Bytes, Count, DeviceNumber, Id, Timestamp, WireModel


Head = Annotated[bytes, Base64Bytes(32, 32)]
Seq = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Cursor(WireModel):
    """A point of the chain: everything up to `seq`, whose head is `head`."""

    seq: Count
    head: Head


class EnvelopeEntry(WireModel):
    """One envelope under its number."""

    seq: Seq
    head: Head
    envelope_id: Id
    message_id: Id
    conversation_id: Id | None
    sender_id: Id
    sender_device_id: DeviceNumber
    lane: Literal["mail", "control"]
    kind: Annotated[int, Field(ge=0, le=255)]
    content: Base64
    posted_at: Timestamp
    expires_at: Timestamp


class NoticeEntry(WireModel):
    """Something the node itself has to say, numbered like mail."""

    seq: Seq
    head: Head
    envelope_id: Id
    message_id: Id
    conversation_id: None
    lane: Literal["control"]
    notice: Notice
    posted_at: Timestamp
    expires_at: Timestamp


class Tombstone(WireModel):
    """Why these numbers hold nothing any more, and how many they are."""

    reason: Literal["expired", "cap", "operator", "parked"]
    count: Seq


class LossEntry(WireModel):
    """Numbers `seq` to `throughSeq` are lost; `head` is that of `throughSeq`, to be adopted."""

    seq: Seq
    through_seq: Seq
    head: Head
    tombstone: Tombstone


Entry = EnvelopeEntry | NoticeEntry | LossEntry


class MailboxQuery(WireModel):
    """Where to read on, how much, and how many seconds to wait when there is nothing yet."""

    after: Count = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    wait: Annotated[int, Field(ge=0, le=30)] = 0


class MailboxPage(WireModel):
    """Entries in order; `drained` when nothing waits behind them; `cursor` is the acknowledged point.

    `lastMessageId` is the last message accepted from this device: one that it does not know shows that it works with an older copy of its state.
    """

    entries: list[Entry]
    drained: bool
    cursor: Cursor
    mailbox_id: Id
    last_message_id: Id | None


class Acknowledge(WireModel):
    """Everything up to here is safe with the device; the node forgets it."""

    seq: Count
    head: Head


class Acknowledged(WireModel):
    """The acknowledged point after it."""

    cursor: Cursor


class Park(WireModel):
    """Set one entry aside that the device can do nothing with."""

    seq: Seq
    reason: Annotated[str, Field(max_length=64)]
