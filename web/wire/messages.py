"""Posts and the status of their copies, for REST, sockets and the archive (docs/protocol.md, "Post")."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_COPIES, MAX_LIFE_SECONDS
from vyry.mail import posting
from web.wire.shapes import Base64Bytes, Count, DeviceNumber, Id, RegistrationId, Timestamp, WireModel, to_rfc3339


Content = Annotated[bytes, Base64Bytes(1, MAX_CONTENT_BYTES)]


class PostDevice(WireModel):
    """A copy for one device, with its own content or the shared one."""

    device_id: DeviceNumber
    registration_id: RegistrationId
    kind: Annotated[int, Field(ge=0, le=255)] = 0
    content: Content | None = None


class PostRecipient(WireModel):
    """One account, and exactly its devices with keys."""

    user_id: Id
    #: Not read: the node compares the devices with its own lists.
    epoch: Count | None = None
    devices: Annotated[list[PostDevice], Field(max_length=127)]


class Post(WireModel):
    """A message to devices. The same `messageId` with the same body is stored once, however often it is posted."""

    message_id: Id
    conversation_id: Id
    conversation_version: Count | None = None
    lane: Literal["mail", "control"] = "mail"
    urgent: bool = True
    expires_in_seconds: Annotated[int, Field(ge=1, le=MAX_LIFE_SECONDS)] = MAX_LIFE_SECONDS
    content: Content | None = None
    recipients: Annotated[list[PostRecipient], Field(min_length=1, max_length=MAX_COPIES)]


class Skipped(WireModel):
    """A copy that was not stored because the device's mailbox is full."""

    user_id: Id
    device_id: DeviceNumber
    reason: Literal["MAILBOX_FULL"]


class Accepted(WireModel):
    """The message is durable. `copies` counts the stored copies."""

    message_id: Id
    accepted_at: Timestamp
    copies: Count
    is_repeat: bool
    skipped: list[Skipped]


class CopyFate(WireModel):
    """Status of the copy for one of the account's own devices, and since when."""

    user_id: Id
    device_id: DeviceNumber
    state: Literal["accepted", "deposited", "acknowledged", "expired", "dropped"]
    at: Timestamp


class Receipt(WireModel):
    """Status of the copies for another account; `accepted` until that account has posted to the conversation or is a friend. `at` is rounded up to a minute."""

    user_id: Id
    state: Literal["accepted", "delivered", "expired", "dropped"]
    at: Timestamp


class SkippedRow(msgspec.Struct, rename="camel", gc=False):
    """`Skipped` as it is written."""

    user_id: UUID
    device_id: int
    reason: str


class AcceptedRow(msgspec.Struct, rename="camel", gc=False):
    """`Accepted` as it is written."""

    message_id: UUID
    accepted_at: str
    copies: int
    is_repeat: bool
    skipped: list[SkippedRow]


def accepted_payload(accepted: posting.Accepted) -> AcceptedRow:
    """The response to a post as `Accepted` describes it, over REST and on a socket; built and encoded faster than a shape."""
    skipped = [SkippedRow(address.user_id, address.device_id, "MAILBOX_FULL") for address in accepted.skipped]
    at = to_rfc3339(accepted.accepted_at)
    return AcceptedRow(accepted.message_id, at, accepted.copies, accepted.is_repeat, skipped)
