"""What GET /account/export says of what people share: friends, blocks, invites, files, wake-ups."""

from web.wire.shapes import Count, Id, Moment, Wire


class ExportedFriend(Wire):
    """A friend."""

    user_id: Id
    since: Moment


class ExportedFriendRequest(Wire):
    """A request to or of somebody that waits for an answer."""

    user_id: Id
    at: Moment


class ExportedBlock(Wire):
    """Somebody to whom the account does not exist."""

    user_id: Id
    at: Moment


class ExportedInvite(Wire):
    """A way into a group that the account made, without its token."""

    invite_id: Id
    conversation_id: Id
    max_uses: Count
    uses: Count
    created_at: Moment
    expires_at: Moment


class ExportedInvitation(Wire):
    """A group, and who the account invited into it, or was invited by."""

    conversation_id: Id
    user_id: Id
    at: Moment


class ExportedAttachment(Wire):
    """An uploaded file; its ciphertext is at `GET /attachments/{id}`."""

    attachment_id: Id
    length: Count
    received: Count
    created_at: Moment
    completed_at: Moment | None
    expires_at: Moment


class ExportedWakeUp(Wire):
    """How a device is and was woken."""

    mailbox_id: Id
    due_at: Moment | None
    is_urgent: bool
    is_ring: bool
    wakes: Count
    attempts: Count
    rest_until: Moment | None
    sent_at: Moment | None
