"""Shapes of posting: what a client says, what it is told, and what became of it (docs/protocol.md, "Post")."""

from typing import Annotated, Literal

from pydantic import Field

from vyry.mail.draft import MONTH_SECONDS
from vyry.mail.receipts import Receipt as AccountReceipt
from vyry.mail.store import CopyStatus as Fate
from web.wire.shapes import Base64Bytes, Count, DeviceNumber, Id, RegistrationId, Timestamp, WireModel


CONTENT_BYTES = 65_536
COPIES = 1_000

Content = Annotated[bytes, Base64Bytes(1, CONTENT_BYTES)]


class PostDevice(WireModel):
    """One copy: for this device, with its own content or the shared one."""

    device_id: DeviceNumber
    registration_id: RegistrationId
    kind: Annotated[int, Field(ge=0, le=255)] = 0
    content: Content | None = None


class PostRecipient(WireModel):
    """One account, and exactly those of its devices that have keys."""

    user_id: Id
    epoch: Count
    devices: Annotated[list[PostDevice], Field(max_length=127)]


class Post(WireModel):
    """A message from this device to devices. The same `messageId` with the same body is stored once, however often it is sent."""

    message_id: Id
    conversation_id: Id
    conversation_version: Count | None = None
    lane: Literal["mail", "control"] = "mail"
    urgent: bool = True
    expires_in_seconds: Annotated[int, Field(ge=1, le=MONTH_SECONDS)] = MONTH_SECONDS
    content: Content | None = None
    recipients: Annotated[list[PostRecipient], Field(min_length=1, max_length=COPIES)]


class Skipped(WireModel):
    """A copy that was not stored because the device's mailbox has no room."""

    user_id: Id
    device_id: DeviceNumber
    reason: Literal["MAILBOX_FULL"]


class Accepted(WireModel):
    """The message is durable from here. `copies` counts the stored ones."""

    message_id: Id
    accepted_at: Timestamp
    copies: Count
    is_repeat: bool
    skipped: list[Skipped]


class CopyFate(WireModel):
    """What became of the copy for a device of the account's own, and when."""

    user_id: Id
    device_id: DeviceNumber
    state: Literal["accepted", "deposited", "acknowledged", "expired", "dropped"]
    at: Timestamp


class Receipt(WireModel):
    """What became of the copies for another account; `accepted` until it has written there itself or is a friend. `at` is the end of a minute."""

    user_id: Id
    state: Literal["accepted", "delivered", "expired", "dropped"]
    at: Timestamp


class MessageFate(WireModel):
    """What became of a message."""

    copies: list[CopyFate | Receipt]


def fate_shape(fate: Fate | AccountReceipt) -> CopyFate | Receipt:
    """What the sender is told."""
    if isinstance(fate, AccountReceipt):
        return Receipt(user_id=fate.user_id, state=fate.state.value, at=fate.at)
    address = fate.address
    return CopyFate(user_id=address.user_id, device_id=address.device_id, state=fate.state.value, at=fate.since)
