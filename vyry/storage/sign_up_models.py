"""Tortoise models: invitations to sign up, and recovery codes."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.models import Model


class SignupInvitationRow(Model):
    """An invitation to sign up. Rows are kept 30 days after they expire: the invitations of a member are counted from them."""

    id = fields.UUIDField(primary_key=True)
    #: A keyed hash of the token in hex, and the pepper that is its key.
    token_hash = fields.CharField(max_length=64, unique=True)
    pepper_id = fields.IntField()
    #: The member who made it, null for an operator.
    account_id = fields.UUIDField(null=True)
    label = fields.CharField(max_length=100, null=True)
    max_uses = fields.IntField()
    uses = fields.IntField(db_default=0)
    created_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "signup_invitation"
        indexes = (
            Index(fields=("account_id", "created_at"), name="signup_invitation_account"),
            Index(fields=("expires_at",), name="signup_invitation_expires"),
        )


class SignupAttemptRow(Model):
    """A sign-up by an invitation that its client may repeat."""

    #: SHA-256 of the token and the id of the attempt, in hex.
    attempt_hash = fields.CharField(max_length=64, primary_key=True)
    account_id = fields.UUIDField()
    expires_at = fields.DatetimeField()

    class Meta:
        table = "signup_attempt"
        indexes = (
            Index(fields=("account_id",), name="signup_attempt_account"),
            Index(fields=("expires_at",), name="signup_attempt_expires"),
        )


class RecoveryCodeRow(Model):
    """The recovery code of an account as SHA-256 in hex."""

    account_id = fields.UUIDField(primary_key=True)
    code_hash = fields.CharField(max_length=64)
    created_at = fields.DatetimeField()

    class Meta:
        table = "recovery_code"


class RecoveryTryRow(Model):
    """How many tries of recovery codes count against one subject, and until when."""

    #: A keyed hash in hex.
    subject = fields.CharField(max_length=64, primary_key=True)
    tries = fields.IntField()
    ends_at = fields.DatetimeField()

    class Meta:
        table = "recovery_try"
        indexes = (Index(fields=("ends_at",), name="recovery_try_ends"),)
