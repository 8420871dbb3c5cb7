"""Tortoise models: accounts, devices, keys, one-time codes, push, and the node itself.

The mail tables (message, content, envelope, fate) have no models: see vyry/storage/mail_postgres/ and vyry/storage/mail_sqlite/.
"""

from tortoise import fields
from tortoise.indexes import PartialIndex
from tortoise.models import Model


class AccountRow(Model):
    """An account. The phone number is stored as a keyed hash and encrypted, never in clear."""

    id = fields.UUIDField(primary_key=True)
    #: HMAC-SHA-256 under the pepper, as hex; without a number `none:` and the id, and an empty `phone_sealed`.
    phone_hash = fields.CharField(max_length=64, unique=True)
    phone_sealed = fields.BinaryField()
    #: The pepper that the hash and the encryption use.
    pepper_id = fields.IntField(db_default=1)
    username = fields.CharField(max_length=30, null=True, unique=True)
    display_name = fields.CharField(max_length=100, null=True)
    bio = fields.CharField(max_length=500, null=True)
    picture_attachment_id = fields.UUIDField(null=True)
    sealed_profile = fields.BinaryField(null=True)
    settings: fields.Field[dict[str, object]] = fields.JSONField(default=dict)
    suite = fields.CharField(max_length=16, null=True)
    identity_key = fields.BinaryField(null=True)
    #: Rises with every change of the set of devices with keys, posts are guarded by it.
    device_list_epoch = fields.IntField(default=1)
    #: The last device number assigned (1 to 127), 0 before the first.
    last_device_id = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    #: Set by the operator: tokens of the account are refused meanwhile, its mailboxes still get mail.
    suspended_at = fields.DatetimeField(null=True)
    #: Set when the owner deleted it: devices and number are removed at once, the rest by the sweeper.
    deleted_at = fields.DatetimeField(null=True, db_index=True)

    class Meta:
        table = "account"


class MailboxRow(Model):
    """The hot row of one mailbox: counters, chain head, acknowledged point."""

    id = fields.BigIntField(primary_key=True)
    mailbox_id = fields.UUIDField(unique=True)
    seq = fields.BigIntField(default=0)
    head = fields.BinaryField()
    acknowledged_seq = fields.BigIntField(default=0)
    acknowledged_head = fields.BinaryField()
    #: The highest sequence number that REST returned or a valid hello named.
    sent_seq = fields.BigIntField(default=0)
    #: Waiting entries of each lane without tombstones, compared with the caps.
    mail_entries = fields.IntField(default=0)
    mail_bytes = fields.BigIntField(default=0)
    control_entries = fields.IntField(default=0)
    control_bytes = fields.BigIntField(default=0)
    notice_entries = fields.IntField(db_default=0)
    notice_bytes = fields.BigIntField(db_default=0)
    #: Counts hellos: a socket with a lower number has been displaced.
    connection = fields.BigIntField(default=0)
    is_ended = fields.BooleanField(default=False)
    #: Whether its device has a push target: only then a deposit plans a wakeup.
    is_pushed = fields.BooleanField(db_default=False)

    class Meta:
        table = "mailbox"


class DeviceRow(Model):
    """A device of an account. Rows of ended devices are deleted after 31 days (KEEP_ENDED)."""

    id = fields.UUIDField(primary_key=True)
    account_id = fields.UUIDField(db_index=True)
    device_id = fields.IntField()
    mailbox = fields.BigIntField(unique=True)
    mailbox_id = fields.UUIDField()
    #: Null until the device uploads keys: without keys it is no recipient.
    registration_id = fields.IntField(null=True)
    name = fields.CharField(max_length=100)
    platform = fields.CharField(max_length=16)
    is_primary = fields.BooleanField()
    linked_at = fields.DatetimeField()
    last_seen_on = fields.DateField()
    ended_at = fields.DatetimeField(null=True)
    #: Contained in access tokens: raising it revokes all issued so far.
    session_generation = fields.IntField(default=1)
    #: When the device was notified that it will end for not being used, null again once it is used.
    idle_warned_at = fields.DatetimeField(null=True)

    class Meta:
        table = "device"
        #: The sweeper finds idle devices by this index.
        indexes = (
            PartialIndex(
                fields=("ended_at", "idle_warned_at", "last_seen_on"),
                name="device_idle",
                condition={"is_primary": False},
            ),
        )


class RefreshTokenRow(Model):
    """A refresh token as SHA-256 in hex, `successor` is the hash of the token that replaced it."""

    hash = fields.CharField(max_length=64, primary_key=True)
    device = fields.UUIDField(db_index=True)
    attempt_id = fields.UUIDField(null=True)
    successor = fields.CharField(max_length=64, null=True)
    used_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField(db_index=True)
    family_ends_at = fields.DatetimeField()

    class Meta:
        table = "refresh_token"


class OtpChallengeRow(Model):
    """A sent one-time code as a keyed hash bound to challenge, number and purpose."""

    id = fields.UUIDField(primary_key=True)
    phone_hash = fields.CharField(max_length=64, db_index=True)
    phone_sealed = fields.BinaryField()
    #: The keyed hash of the network that asked.
    network = fields.CharField(max_length=64, db_default="")
    purpose = fields.CharField(max_length=16)
    code_hash = fields.BinaryField()
    guesses_left = fields.IntField()
    is_used = fields.BooleanField(default=False)
    created_at = fields.DatetimeField()
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "otp_challenge"


class KeySetRow(Model):
    """The published keys of one device without its one-time prekeys."""

    mailbox = fields.BigIntField(primary_key=True, generated=False)
    suite = fields.CharField(max_length=16)
    identity_dh_key = fields.BinaryField(null=True)
    identity_dh_signature = fields.BinaryField(null=True)
    signed_prekey_id = fields.BigIntField()
    signed_prekey = fields.BinaryField()
    signed_prekey_signature = fields.BinaryField()
    signed_prekey_at = fields.DatetimeField()
    pq_last_resort_id = fields.BigIntField()
    pq_last_resort = fields.BinaryField()
    pq_last_resort_signature = fields.BinaryField()
    last_resort_uses = fields.IntField(default=0)
    #: The highest one-time ids ever claimed (never lowered), and the highest ever uploaded or claimed.
    issued_through_one_time = fields.BigIntField(default=0)
    issued_through_pq = fields.BigIntField(default=0)
    uploaded_through_one_time = fields.BigIntField(default=0)
    uploaded_through_pq = fields.BigIntField(default=0)
    #: Whether the device was notified that it has few keys, and has not refilled since.
    is_low_told = fields.BooleanField(default=False)

    class Meta:
        table = "key_set"


class OneTimePrekeyRow(Model):
    """An unused one-time prekey, `kind` is "ec" or "pq". A claim is one DELETE ... RETURNING."""

    id = fields.BigIntField(primary_key=True)
    mailbox = fields.BigIntField()
    kind = fields.CharField(max_length=2)
    key_id = fields.BigIntField()
    public_key = fields.BinaryField()
    signature = fields.BinaryField(null=True)

    class Meta:
        table = "one_time_prekey"
        unique_together = (("mailbox", "kind", "key_id"),)


class AccountPinRow(Model):
    """The PIN of an account as an Argon2id hash over its keyed hash, and the number of wrong tries."""

    account_id = fields.UUIDField(primary_key=True)
    #: The encoded hash, with its parameters and salt.
    verifier = fields.CharField(max_length=200)
    pepper_id = fields.IntField()
    registration_lock = fields.BooleanField(default=False)
    misses = fields.IntField(default=0)
    locked_until = fields.DatetimeField(null=True)
    #: Wrong tries at the registration lock are counted apart, so that an owner of the number cannot use up the tries of the devices.
    lock_misses = fields.IntField(db_default=0)
    lock_locked_until = fields.DatetimeField(null=True)
    changed_at = fields.DatetimeField()

    class Meta:
        table = "account_pin"


class UnlockTokenRow(Model):
    """A verified sign-up to an account with a registration lock, until the PIN is given."""

    #: SHA-256 of the registration token, in hex.
    token_hash = fields.CharField(max_length=64, primary_key=True)
    account_id = fields.UUIDField(db_index=True)
    expires_at = fields.DatetimeField(db_index=True)
    #: The hash of the recovery code that passed before, null after a one-time code.
    recovery_hash = fields.CharField(max_length=64, null=True)

    class Meta:
        table = "registration"


class LinkRow(Model):
    """A link of a new device, from request to completion. Secrets and tokens are stored as SHA-256 in hex."""

    id = fields.UUIDField(primary_key=True)
    secret_hash = fields.CharField(max_length=64)
    public_key = fields.BinaryField()
    name = fields.CharField(max_length=100)
    platform = fields.CharField(max_length=16)
    #: The network of the new device, shown to the approver.
    requested_from = fields.CharField(max_length=64)
    #: waiting, scanned, approved, rejected, completed.
    status = fields.CharField(max_length=16)
    account_id = fields.UUIDField(null=True, db_index=True)
    approver = fields.UUIDField(null=True)
    #: The session generation of the approver when it scanned, the link ends with it.
    approver_generation = fields.IntField(null=True)
    approver_public_key = fields.BinaryField(null=True)
    #: Ciphertext for the new device, delivered once.
    provisioning = fields.BinaryField(null=True)
    token_hash = fields.CharField(max_length=64, null=True, unique=True)
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "link"


class OtpSentRow(Model):
    """A code that was sent: limits of numbers, networks and prefixes and the daily cost are counted from these rows, not in Redis."""

    id = fields.BigIntField(primary_key=True)
    at = fields.DatetimeField(db_index=True)
    phone_hash = fields.CharField(max_length=64)
    #: Keyed hashes, in hex.
    network = fields.CharField(max_length=64)
    prefix = fields.CharField(max_length=64)
    area = fields.CharField(max_length=64)
    #: In millionths of the operator's currency.
    cost = fields.BigIntField(default=0)
    is_verified = fields.BooleanField(default=False)

    class Meta:
        table = "otp_sent"
        indexes = (("phone_hash", "at"), ("network", "at"), ("prefix", "at"), ("area", "at"))


class OtpBreakerRow(Model):
    """An area of phone numbers that gets no codes for a while, because too few were verified."""

    area = fields.CharField(max_length=64, primary_key=True)
    until = fields.DatetimeField(db_index=True)

    class Meta:
        table = "otp_breaker"


class PushTargetRow(Model):
    """The push target of a device (vyry/devices/push.py), deleted with the device."""

    device = fields.UUIDField(primary_key=True)
    kind = fields.CharField(max_length=16)
    endpoint = fields.CharField(max_length=2048, null=True)
    p256dh = fields.BinaryField(null=True)
    auth = fields.BinaryField(null=True)
    token = fields.CharField(max_length=4096, null=True)
    topic = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "push_target"


class AccountEventRow(Model):
    """A security event of an account, which its owner can read. Rows are never changed, and deleted with the account."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    at = fields.DatetimeField(db_index=True)
    name = fields.CharField(max_length=32)
    #: The number of the device that caused it, null if none did.
    device_id = fields.IntField(null=True)
    detail: fields.Field[dict[str, object]] = fields.JSONField(default=dict)

    class Meta:
        table = "account_event"
        indexes = (("account_id", "id"),)


class OperatorActionRow(Model):
    """An operator action. Triggers refuse to change or delete a row."""

    id = fields.BigIntField(primary_key=True)
    at = fields.DatetimeField(db_index=True)
    operator = fields.CharField(max_length=100)
    act = fields.CharField(max_length=32)
    #: The account concerned, null for the whole node.
    subject = fields.UUIDField(null=True)
    reason = fields.CharField(max_length=500)

    class Meta:
        table = "operator_act"


class RestoreMarkerRow(Model):
    """A restore marker, which a node also keeps in a file: if the two differ, the database was restored from a backup."""

    node = fields.UUIDField(primary_key=True)
    mark = fields.UUIDField()
    at = fields.DatetimeField()

    class Meta:
        table = "witness"


class PepperRow(Model):
    """A pepper of this installation, the newest is in use. A node without it, or with another one under its id, creates no accounts."""

    id = fields.IntField(primary_key=True, generated=False)
    #: A keyed hash by which nodes check that they have the same pepper.
    fingerprint = fields.CharField(max_length=64)
    used_from = fields.DatetimeField()

    class Meta:
        table = "pepper"


class ClockRow(Model):
    """The latest time that any node confirmed (one row), and the time that a doubted clock claims."""

    id = fields.IntField(primary_key=True, generated=False)
    seen_at = fields.DatetimeField()
    claimed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "clock"


class RevocationRow(Model):
    """A device or account whose sessions ended or resumed: nodes check their sockets of it. Written by triggers."""

    id = fields.BigIntField(primary_key=True)
    device = fields.UUIDField(null=True)
    account_id = fields.UUIDField(null=True)
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "ending"


class PushWakeupRow(Model):
    """The planned wakeup of a device, written by a trigger with the deposit of its mail, so that a crash loses none."""

    device = fields.UUIDField(primary_key=True)
    mailbox = fields.BigIntField(db_index=True)
    #: When it is due, or when the lease of the worker that claimed it ends, null while nothing is due.
    due_at = fields.DatetimeField(null=True, db_index=True)
    is_urgent = fields.BooleanField(db_default=True)
    #: A call rings: sent even if no mail waits.
    is_ring = fields.BooleanField(db_default=False)
    #: The acknowledged sequence number when this was planned, if it is higher now the device is awake.
    acknowledged_seq = fields.BigIntField(db_default=0)
    #: The last sequence number of the mailbox when it was claimed.
    seq = fields.BigIntField(db_default=0)
    #: How often the device was woken since it last acknowledged, and how often this wakeup was tried.
    wakes = fields.IntField(db_default=0)
    attempts = fields.IntField(db_default=0)
    #: New mail does not wake the device before.
    rest_until = fields.DatetimeField(null=True)
    sent_at = fields.DatetimeField(null=True)

    class Meta:
        table = "push_wake"


class PushReportRow(Model):
    """The last answer of a push service about a device."""

    device = fields.UUIDField(primary_key=True)
    kind = fields.CharField(max_length=16)
    result = fields.CharField(max_length=16)
    #: The HTTP status, 0 without an answer.
    status = fields.IntField()
    at = fields.DatetimeField()

    class Meta:
        table = "push_report"
