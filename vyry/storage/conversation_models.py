"""The tables of what people share or find each other by, as Tortoise sees them: conversations, friends, invites, files, calls, resting names."""

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
    """Who belongs to a conversation."""

    id = fields.BigIntField(primary_key=True)
    conversation_id = fields.UUIDField()
    account_id = fields.UUIDField(db_index=True)
    role = fields.CharField(max_length=8)
    joined_at = fields.DatetimeField()
    #: Whether the account has posted there, to somebody else, in the lane of mail.
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
    """Somebody asks to be somebody's friend, until it is answered or withdrawn."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    to_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "friend_request"
        unique_together = (("account_id", "to_id"),)


class BlockRow(Model):
    """To the one that is blocked, the account does not exist."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    blocked_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "block"
        unique_together = (("account_id", "blocked_id"),)


class InviteRow(Model):
    """A way into a group for whoever has its token, which is kept as SHA-256 in hex."""

    id = fields.UUIDField(primary_key=True)
    conversation_id = fields.UUIDField(db_index=True)
    #: Who made it.
    account_id = fields.UUIDField(db_index=True)
    token_hash = fields.CharField(max_length=64, unique=True)
    max_uses = fields.IntField()
    uses = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "invite"


class GroupInvitationRow(Model):
    """An admin of a group wants somebody in it who does not know them, until it is accepted or declined."""

    id = fields.BigIntField(primary_key=True)
    conversation_id = fields.UUIDField()
    #: Who invites.
    account_id = fields.UUIDField(db_index=True)
    to_id = fields.UUIDField(db_index=True)
    at = fields.DatetimeField()

    class Meta:
        table = "group_invitation"
        unique_together = (("conversation_id", "to_id"),)


class AttachmentRow(Model):
    """An uploaded file of ciphertext, or one on its way; the bytes lie in the attachment store."""

    id = fields.UUIDField(primary_key=True)
    #: Nobody's, once the account is gone: it is over then, and goes with its bytes.
    account_id = fields.UUIDField(db_index=True, null=True)
    #: As announced, in bytes: it counts against the quota from the start.
    length = fields.BigIntField()
    #: How much of it is safe in the store: what its parts hold.
    received = fields.BigIntField(default=0)
    #: NAME:LENGTH of each part of the store that counts, in order, with blanks between.
    parts = fields.TextField(default="")
    #: How many have begun to write; only what the last of them adds counts.
    writer = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    completed_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "attachment"


class CallRow(Model):
    """A call that rings: what tells the people called that nobody answered."""

    id = fields.BigIntField(primary_key=True)
    call_id = fields.UUIDField()
    #: Who calls.
    account_id = fields.UUIDField(db_index=True)
    to_id = fields.UUIDField(db_index=True)
    #: The device that calls.
    device_id = fields.IntField()
    #: The device that took it; 0 when it is over unanswered.
    taken_by = fields.IntField(null=True)
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "call"
        unique_together = (("account_id", "to_id", "call_id"),)


class ProvenNetworkRow(Model):
    """A network from which a number was proven by its code, and on which day: what others ask for does not keep a code from it."""

    id = fields.BigIntField(primary_key=True)
    phone_hash = fields.CharField(max_length=64)
    #: A keyed hash, in hex.
    network = fields.CharField(max_length=64)
    proven_on = fields.DateField(db_index=True)

    class Meta:
        table = "proven_network"
        unique_together = (("phone_hash", "network"),)


class ReservedUsernameRow(Model):
    """A username that was given up, as its hash: nobody but this account can take it before that day, and nobody at all when the account is gone."""

    hash = fields.CharField(max_length=64, primary_key=True)
    account_id = fields.UUIDField(null=True, db_index=True)
    free_on = fields.DateField(db_index=True)

    class Meta:
        table = "resting_name"
