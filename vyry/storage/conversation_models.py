"""Tortoise models: conversations, contacts, groups, notices, attachments, calls, and what lets users find each other."""

from tortoise import fields
from tortoise.models import Model


class ConversationRow(Model):
    """A conversation, `pair` (the two ids sorted, as hex) makes a direct one unique."""

    id = fields.UUIDField(primary_key=True)
    kind = fields.CharField(max_length=8)
    pair = fields.CharField(max_length=64, null=True, unique=True)
    version = fields.IntField(default=1)
    sealed_info = fields.BinaryField(null=True)
    message_timer_seconds = fields.IntField(null=True)
    created_at = fields.DatetimeField()
    last_activity_at = fields.DatetimeField()

    class Meta:
        table = "conversation"


class MemberRow(Model):
    """A member of a conversation."""

    id = fields.BigIntField(primary_key=True)
    conversation_id = fields.UUIDField()
    account_id = fields.UUIDField(db_index=True)
    role = fields.CharField(max_length=8)
    joined_at = fields.DatetimeField()
    #: Whether the account has posted mail to another member there.
    has_written = fields.BooleanField(db_default=False)

    class Meta:
        table = "member"
        unique_together = (("conversation_id", "account_id"),)


class FriendRow(Model):
    """One side of a friendship, the other side is a row of its own."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    friend_id = fields.UUIDField(db_index=True)
    since = fields.DatetimeField()

    class Meta:
        table = "friend"
        unique_together = (("account_id", "friend_id"),)


class FriendRequestRow(Model):
    """A friend request, until it is accepted, declined or withdrawn."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    to_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "friend_request"
        unique_together = (("account_id", "to_id"),)


class BlockRow(Model):
    """A block: the blocked account sees the other one as if it did not exist."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    blocked_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "block"
        unique_together = (("account_id", "blocked_id"),)


class InviteRow(Model):
    """An invite link of a group. Its token is stored as SHA-256 in hex."""

    id = fields.UUIDField(primary_key=True)
    conversation_id = fields.UUIDField(db_index=True)
    #: The creator.
    account_id = fields.UUIDField(db_index=True)
    token_hash = fields.CharField(max_length=64, unique=True)
    max_uses = fields.IntField()
    uses = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "invite"


class GroupInvitationRow(Model):
    """An invitation of a user to a group, until it is accepted or declined."""

    id = fields.BigIntField(primary_key=True)
    conversation_id = fields.UUIDField()
    #: The inviter.
    account_id = fields.UUIDField(db_index=True)
    to_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "group_invitation"
        unique_together = (("conversation_id", "to_id"),)


class AttachmentRow(Model):
    """An encrypted file, complete or being uploaded. Its bytes are in the attachment store."""

    id = fields.UUIDField(primary_key=True)
    #: Null once the account is deleted: the row is deleted with its bytes.
    account_id = fields.UUIDField(db_index=True, null=True)
    #: The announced length in bytes: it counts against the quota from the start.
    length = fields.BigIntField()
    #: How many bytes the store has: the sum of the parts.
    received = fields.BigIntField(default=0)
    #: NAME:LENGTH of each part in order, separated by blanks.
    parts = fields.TextField(default="")
    #: How many uploads have begun to write, only the last one may add parts.
    writer = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    completed_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "attachment"


class CallRow(Model):
    """A ringing call, from which missed calls are reported."""

    id = fields.BigIntField(primary_key=True)
    call_id = fields.UUIDField()
    #: The caller.
    account_id = fields.UUIDField(db_index=True)
    to_id = fields.UUIDField(db_index=True)
    #: The calling device.
    device_id = fields.IntField()
    #: The device that answered, 0 when it ended unanswered.
    taken_by = fields.IntField(null=True)
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "call"
        unique_together = (("account_id", "to_id", "call_id"),)


class ProvenNetworkRow(Model):
    """A network from which a number was verified, and on which day: requests of other networks do not use up its codes."""

    id = fields.BigIntField(primary_key=True)
    phone_hash = fields.CharField(max_length=64)
    #: A keyed hash, in hex.
    network = fields.CharField(max_length=64)
    proven_on = fields.DateField(db_index=True)

    class Meta:
        table = "proven_network"
        unique_together = (("phone_hash", "network"),)


class ReservedUsernameRow(Model):
    """A released username as its hash: until that day only this account can take it, and no account if it is null."""

    hash = fields.CharField(max_length=64, primary_key=True)
    account_id = fields.UUIDField(null=True, db_index=True)
    free_on = fields.DateField(db_index=True)

    class Meta:
        table = "resting_name"


class NoticeRow(Model):
    """A notice to post, written in the transaction that it reports, so that a crash loses none."""

    #: The messageId of the notice, too: a second post is a repetition.
    id = fields.UUIDField(primary_key=True)
    account_id = fields.UUIDField()
    #: own (live devices of the account), peers (live devices of accounts that share a conversation with it) or members.
    audience = fields.CharField(max_length=8)
    #: The mailbox of the device that caused it and gets no notice.
    without = fields.BigIntField(null=True)
    body: fields.Field[dict[str, object]] = fields.JSONField()
    at = fields.DatetimeField(db_index=True)
    #: The conversation that it reports (audience members), at most one notice of a conversation waits, the newest.
    conversation_id = fields.UUIDField(null=True, db_index=True)
    #: Whose turn it is posted in, so that one account cannot delay all others: an account, or a conversation. Null is the account itself.
    caused_by = fields.UUIDField(null=True)

    class Meta:
        table = "notice"
        indexes = (("account_id",),)


class DeferredNoticeRow(Model):
    """A notice that waits until its mailbox has capacity."""

    id = fields.BigIntField(primary_key=True)
    mailbox = fields.BigIntField()
    #: Its kind and what it is about, at most one of a subject waits, the newest.
    subject = fields.CharField(max_length=255)
    #: The messageId it will have.
    notice_id = fields.UUIDField()
    body: fields.Field[dict[str, object]] = fields.JSONField()
    #: When it is tried again, null until the mailbox gets more capacity for notices (a trigger).
    try_at = fields.DatetimeField(null=True, db_index=True)

    class Meta:
        table = "held_notice"
        unique_together = (("mailbox", "subject"),)


class AnnouncementRow(Model):
    """A notice of the operator to all mailboxes, handed over in the order of their keys (vyry/operator/announcements.py)."""

    id = fields.UUIDField(primary_key=True)
    text = fields.CharField(max_length=1000)
    #: A BCP 47 tag.
    language = fields.CharField(max_length=35, null=True)
    created_at = fields.DatetimeField()
    #: The highest mailbox of a live device when it was made: later devices do not get it.
    last_mailbox = fields.BigIntField()
    #: Mailboxes up to this key were handed over.
    through_mailbox = fields.BigIntField(db_default=0)
    #: How many mailboxes there were, and how many were handed over.
    total = fields.IntField()
    handed_over = fields.IntField(db_default=0)
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "announcement"
