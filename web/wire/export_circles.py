"""What GET /account/export says of what people share: friends, blocks, invites, files, wake-ups."""

from web.wire.shapes import Count, Id, Timestamp, WireModel


class ExportedFriend(WireModel):
    """A friend."""

    user_id: Id
    since: Timestamp


class ExportedFriendRequest(WireModel):
    """A request to or of somebody that waits for an answer."""

    user_id: Id
    at: Timestamp


class ExportedBlock(WireModel):
    """Somebody to whom the account does not exist."""

    user_id: Id
    at: Timestamp


class ExportedInvite(WireModel):
    """A way into a group that the account made, without its token."""

    invite_id: Id
    conversation_id: Id
    max_uses: Count
    uses: Count
    created_at: Timestamp
    expires_at: Timestamp


class ExportedInvitation(WireModel):
    """A group, and who the account invited into it, or was invited by."""

    conversation_id: Id
    user_id: Id
    at: Timestamp


class ExportedAttachment(WireModel):
    """An uploaded file; its ciphertext is at `GET /attachments/{id}`."""

    attachment_id: Id
    length: Count
    received: Count
    created_at: Timestamp
    completed_at: Timestamp | None
    expires_at: Timestamp


class ExportedWakeUp(WireModel):
    """How a device is and was woken."""

    mailbox_id: Id
    due_at: Timestamp | None
    is_urgent: bool
    is_ring: bool
    wakes: Count
    attempts: Count
    rest_until: Timestamp | None
    sent_at: Timestamp | None
