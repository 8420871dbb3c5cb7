"""The account-sized tables as Tortoise sees them; the mail tables (message, content, envelope, fate) have statements of their own.

Hot mail statements never go through these classes: see vyry/storage/mail_postgres/store.py and sqlite_mail.py.
"""

from tortoise import fields
from tortoise.indexes import PartialIndex
from tortoise.models import Model


class AccountRow(Model):
    """A person. The number is stored as a keyed hash and sealed, never in clear."""

    id = fields.UUIDField(primary_key=True)
    #: HMAC-SHA-256 under the pepper, as hex.
    phone_hash = fields.CharField(max_length=64, unique=True)
    phone_sealed = fields.BinaryField()
    #: Which pepper of the ring the hash and the seal are made under.
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
    #: The last device number given (1..127), 0 before the first.
    last_device_id = fields.IntField(default=0)
    created_at = fields.DatetimeField()
    #: Set by the operator: no token of the account is good meanwhile, its mailboxes go on.
    suspended_at = fields.DatetimeField(null=True)
    #: Set when the owner deleted it: devices and number are gone, the sweeper clears away the rest.
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
    #: The highest number that was returned by REST or named by a right hello.
    sent_seq = fields.BigIntField(default=0)
    #: What waits in each lane, tombstones not counted, the caps are held against these.
    mail_entries = fields.IntField(default=0)
    mail_bytes = fields.BigIntField(default=0)
    control_entries = fields.IntField(default=0)
    control_bytes = fields.BigIntField(default=0)
    notice_entries = fields.IntField(db_default=0)
    notice_bytes = fields.BigIntField(db_default=0)
    #: Counts hellos: a socket whose number is lower has been displaced.
    connection = fields.BigIntField(default=0)
    is_ended = fields.BooleanField(default=False)
    #: Whether its device has a push target: only then a deposit plans a wake-up.
    is_pushed = fields.BooleanField(db_default=False)

    class Meta:
        table = "mailbox"


class DeviceRow(Model):
    """One device of an account, from sign-up or link to its end, ended rows stay for 30 days."""

    id = fields.UUIDField(primary_key=True)
    account_id = fields.UUIDField(db_index=True)
    device_id = fields.IntField()
    mailbox = fields.BigIntField(unique=True)
    mailbox_id = fields.UUIDField()
    #: Null until the device uploaded keys: without keys it is no recipient.
    registration_id = fields.IntField(null=True)
    name = fields.CharField(max_length=100)
    platform = fields.CharField(max_length=16)
    is_primary = fields.BooleanField()
    linked_at = fields.DatetimeField()
    last_seen_on = fields.DateField()
    ended_at = fields.DatetimeField(null=True)
    #: Named in access tokens: raising it makes all given so far worthless.
    session_generation = fields.IntField(default=1)
    #: When the device was told that it will end because nobody uses it, null again once it is used.
    idle_warned_at = fields.DatetimeField(null=True)

    class Meta:
        table = "device"
        #: What the sweeper looks through for idle ones, however many devices there are.
        indexes = (
            PartialIndex(
                fields=("ended_at", "idle_warned_at", "last_seen_on"),
                name="device_idle",
                condition={"is_primary": False},
            ),
        )


class RefreshTokenRow(Model):
    """A refresh token as its SHA-256 in hex, `successor` is the hash of the token it was exchanged for."""

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
    #: The keyed hash of the network that asked; empty where a node of an older release stored it.
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
    """The published keys of one device, one-time prekeys aside, keyed by the device's mailbox."""

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
    #: The highest one-time ids ever handed out (this never goes back), and the highest of the present set or handed out.
    issued_through_one_time = fields.BigIntField(default=0)
    issued_through_pq = fields.BigIntField(default=0)
    uploaded_through_one_time = fields.BigIntField(default=0)
    uploaded_through_pq = fields.BigIntField(default=0)
    #: Whether the device was told that it runs low, and did not refill since.
    is_low_told = fields.BooleanField(default=False)

    class Meta:
        table = "key_set"


class OneTimePrekeyRow(Model):
    """An unused one-time prekey, `kind` is "ec" or "pq". It leaves by one DELETE ... RETURNING."""

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
    """The PIN of an account as an Argon2id hash over its keyed hash, and the tries that were wrong."""

    account_id = fields.UUIDField(primary_key=True)
    #: The encoded hash, with its parameters and salt.
    verifier = fields.CharField(max_length=200)
    pepper_id = fields.IntField()
    registration_lock = fields.BooleanField(default=False)
    misses = fields.IntField(default=0)
    locked_until = fields.DatetimeField(null=True)
    #: Those at the registration lock: who holds the number does not use up the tries of the devices, nor they its.
    lock_misses = fields.IntField(db_default=0)
    lock_locked_until = fields.DatetimeField(null=True)
    changed_at = fields.DatetimeField()

    class Meta:
        table = "account_pin"


class UnlockTokenRow(Model):
    """A number proven by its code that a registration lock keeps from signing up until the PIN is given too."""

    #: SHA-256 of the registration token, in hex.
    token_hash = fields.CharField(max_length=64, primary_key=True)
    account_id = fields.UUIDField(db_index=True)
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "registration"


class LinkRow(Model):
    """A device that asks to be linked, from its request to its completion. Secrets and tokens are kept as SHA-256 in hex."""

    id = fields.UUIDField(primary_key=True)
    secret_hash = fields.CharField(max_length=64)
    public_key = fields.BinaryField()
    name = fields.CharField(max_length=100)
    platform = fields.CharField(max_length=16)
    #: The network it was asked from, as the approver is shown it.
    requested_from = fields.CharField(max_length=64)
    #: waiting, scanned, approved, rejected, completed.
    status = fields.CharField(max_length=16)
    account_id = fields.UUIDField(null=True, db_index=True)
    approver = fields.UUIDField(null=True)
    #: The sessions of that device when it scanned, the link ends with them.
    approver_generation = fields.IntField(null=True)
    approver_public_key = fields.BinaryField(null=True)
    #: Opaque, taken once.
    provisioning = fields.BinaryField(null=True)
    token_hash = fields.CharField(max_length=64, null=True, unique=True)
    expires_at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "link"


class OtpSentRow(Model):
    """One code that was sent: what the limits of numbers, networks and prefixes and the daily spend are counted by, whatever Redis remembers."""

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
    """An area of numbers that is sent no codes for a while, because too few of them were verified."""

    area = fields.CharField(max_length=64, primary_key=True)
    until = fields.DatetimeField(db_index=True)

    class Meta:
        table = "otp_breaker"


class PushTargetRow(Model):
    """Where a device wants to be woken (vyry/devices/push.py); it goes with the device."""

    device = fields.UUIDField(primary_key=True)
    kind = fields.CharField(max_length=16)
    endpoint = fields.CharField(max_length=2048, null=True)
    p256dh = fields.BinaryField(null=True)
    auth = fields.BinaryField(null=True)
    token = fields.CharField(max_length=4096, null=True)
    topic = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "push_target"


class NoticeRow(Model):
    """A notice on its way into mailboxes, written in the transaction that it tells of, so that a crash loses none."""

    #: Is the notice's messageId too: posted twice it is a repeat.
    id = fields.UUIDField(primary_key=True)
    account_id = fields.UUIDField()
    #: own (all live devices of the account) or peers (all live devices of those who share a conversation with it).
    audience = fields.CharField(max_length=8)
    #: A device that need not be told: it did it itself.
    without = fields.BigIntField(null=True)
    body: fields.Field[dict[str, object]] = fields.JSONField()
    at = fields.DatetimeField(db_index=True)
    #: The conversation that it tells of (audience members: all live devices of its members), of one at most one waits, the newest.
    conversation_id = fields.UUIDField(null=True, db_index=True)
    #: In whose turn it is posted: another account than the one it is for, or the conversation whose change it tells of; null for the account itself.
    caused_by = fields.UUIDField(null=True)

    class Meta:
        table = "notice"
        indexes = (("account_id",),)


class AccountEventRow(Model):
    """Something about the security of an account that its owner can read. Rows are never changed; they go with the account."""

    id = fields.BigIntField(primary_key=True)
    account_id = fields.UUIDField()
    at = fields.DatetimeField(db_index=True)
    name = fields.CharField(max_length=32)
    #: The number of the device that did it, null for nobody's.
    device_id = fields.IntField(null=True)
    detail: fields.Field[dict[str, object]] = fields.JSONField(default=dict)

    class Meta:
        table = "account_event"
        indexes = (("account_id", "id"),)


class OperatorActionRow(Model):
    """Something an operator did. Rows are never changed nor deleted: the database itself refuses it."""

    id = fields.BigIntField(primary_key=True)
    at = fields.DatetimeField(db_index=True)
    operator = fields.CharField(max_length=100)
    act = fields.CharField(max_length=32)
    #: The account it was done to, null for the whole node.
    subject = fields.UUIDField(null=True)
    reason = fields.CharField(max_length=500)

    class Meta:
        table = "operator_act"


class RestoreMarkerRow(Model):
    """A mark that a node also keeps outside the database: when the two differ, the database is older than it was (a restore)."""

    node = fields.UUIDField(primary_key=True)
    mark = fields.UUIDField()
    at = fields.DatetimeField()

    class Meta:
        table = "witness"


class PepperRow(Model):
    """A pepper that this installation uses, and since when: the newest is in use. A node that lacks one, or has another one under its id, makes nothing."""

    id = fields.IntField(primary_key=True, generated=False)
    #: A keyed hash by which nodes tell that they have the same one.
    fingerprint = fields.CharField(max_length=64)
    used_from = fields.DatetimeField()

    class Meta:
        table = "pepper"


class RevocationRow(Model):
    """A device or a whole account whose sessions have ended or may go on again: nodes look at the sockets they hold for it. Written by triggers."""

    id = fields.BigIntField(primary_key=True)
    device = fields.UUIDField(null=True)
    account_id = fields.UUIDField(null=True)
    at = fields.DatetimeField(db_index=True)

    class Meta:
        table = "ending"


class PushWakeupRow(Model):
    """The wake-ups of a device, planned with the deposit of the mail that it is woken for (a trigger), so that a crash loses none."""

    device = fields.UUIDField(primary_key=True)
    mailbox = fields.BigIntField(db_index=True)
    #: When it is to be sent, or sent again by somebody else if who took it up does not report, null while nothing is to be sent.
    due_at = fields.DatetimeField(null=True, db_index=True)
    is_urgent = fields.BooleanField(db_default=True)
    #: Something rings: sent even if no mail waits.
    is_ring = fields.BooleanField(db_default=False)
    #: What the device had acknowledged when this was planned, if it is more now the device is awake.
    acknowledged_seq = fields.BigIntField(db_default=0)
    #: The last number in the mailbox when it was taken up.
    seq = fields.BigIntField(db_default=0)
    #: How often it was woken since it was last heard, and how often the present wake-up was tried.
    wakes = fields.IntField(db_default=0)
    attempts = fields.IntField(db_default=0)
    #: New mail does not wake it again before.
    rest_until = fields.DatetimeField(null=True)
    sent_at = fields.DatetimeField(null=True)

    class Meta:
        table = "push_wake"
