"""The contents of an account export: every table and column, or the reason why it is left out.

`EXPORT_TABLES` and `EXPORTED_ELSEWHERE` name every table, and together with `WITHHELD_COLUMNS` every column; tests/integration/test_export.py compares them
with the schema, so that a new table or column cannot be forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tortoise.models import Model

from vyry.storage.conversation_models import (
    AttachmentRow,
    BlockRow,
    DeferredNoticeRow,
    FriendRequestRow,
    FriendRow,
    GroupInvitationRow,
    InviteRow,
    NoticeRow,
    ProvenNetworkRow,
    ReservedUsernameRow,
)
from vyry.storage.models import (
    AccountEventRow,
    AccountPinRow,
    AccountRow,
    DeviceRow,
    KeySetRow,
    LinkRow,
    MailboxRow,
    OneTimePrekeyRow,
    OtpChallengeRow,
    OtpSentRow,
    PushReportRow,
    PushTargetRow,
    PushWakeupRow,
    RefreshTokenRow,
    UnlockTokenRow,
)
from vyry.storage.sign_up_models import RecoveryCodeRow, SignupAttemptRow, SignupInvitationRow


OwnerColumn = Literal["id", "account_id", "to_id", "mailbox", "device", "phone_hash"]


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A section of the export made of one table: the column that names the owner, the exported columns, and their names in the export if they differ."""

    section: str
    model: type[Model]
    owner: OwnerColumn
    columns: tuple[str, ...]
    export_names: Mapping[str, str] = field(default_factory=dict)


_INVITED_BY: Final = ("conversation_id", "account_id", "at")
EXPORT_TABLES: Final = (
    ExportTable(
        "account",
        AccountRow,
        "id",
        (
            *("id", "username", "display_name", "bio", "picture_attachment_id", "sealed_profile", "settings", "suite"),
            *("identity_key", "device_list_epoch", "last_device_id", "created_at", "suspended_at"),
        ),
        {"id": "user_id"},
    ),
    ExportTable(
        "pin",
        AccountPinRow,
        "account_id",
        (*("registration_lock", "misses", "locked_until", "lock_misses", "lock_locked_until", "changed_at"),),
    ),
    ExportTable(
        "devices",
        DeviceRow,
        "account_id",
        (
            *(
                "device_id",
                "mailbox_id",
                "registration_id",
                "name",
                "platform",
                "is_primary",
                "linked_at",
                "last_seen_on",
            ),
            *("ended_at", "idle_warned_at", "session_generation"),
        ),
    ),
    ExportTable("sessions", RefreshTokenRow, "device", ("attempt_id", "used_at", "expires_at", "family_ends_at")),
    ExportTable("push_targets", PushTargetRow, "device", ("kind", "endpoint", "topic")),
    ExportTable("push_reports", PushReportRow, "device", ("kind", "result", "status", "at")),
    ExportTable(
        "mailboxes",
        MailboxRow,
        "id",
        (
            *("seq", "head", "acknowledged_seq", "acknowledged_head", "sent_seq", "mail_entries", "mail_bytes"),
            *("control_entries", "control_bytes", "notice_entries", "notice_bytes", "connection", "is_ended"),
            "is_pushed",
        ),
    ),
    ExportTable(
        "key_sets",
        KeySetRow,
        "mailbox",
        (
            *("suite", "identity_dh_key", "identity_dh_signature", "signed_prekey_id", "signed_prekey"),
            *("signed_prekey_signature", "signed_prekey_at", "pq_last_resort_id", "pq_last_resort"),
            *("pq_last_resort_signature", "last_resort_uses", "issued_through_one_time", "issued_through_pq"),
            *("uploaded_through_one_time", "uploaded_through_pq", "is_low_told"),
        ),
    ),
    ExportTable("one_time_prekeys", OneTimePrekeyRow, "mailbox", ("kind", "key_id", "public_key", "signature")),
    ExportTable(
        "links",
        LinkRow,
        "account_id",
        (
            *("id", "public_key", "name", "platform", "requested_from", "status", "approver_public_key"),
            "expires_at",
        ),
        {"id": "link_id"},
    ),
    ExportTable("registrations", UnlockTokenRow, "account_id", ("expires_at",)),
    ExportTable("recovery_code", RecoveryCodeRow, "account_id", ("created_at",)),
    ExportTable("signup_attempts", SignupAttemptRow, "account_id", ("expires_at",)),
    ExportTable(
        "signup_invitations",
        SignupInvitationRow,
        "account_id",
        ("id", "label", "max_uses", "uses", "created_at", "expires_at", "revoked_at"),
        {"id": "invitation_id"},
    ),
    ExportTable(
        "codes",
        OtpChallengeRow,
        "phone_hash",
        ("purpose", "guesses_left", "is_used", "created_at", "expires_at"),
    ),
    ExportTable("codes_sent", OtpSentRow, "phone_hash", ("at", "cost", "is_verified")),
    ExportTable("proven_networks", ProvenNetworkRow, "phone_hash", ("proven_on",)),
    ExportTable("notices", NoticeRow, "account_id", ("at", "audience", "body")),
    ExportTable("held_notices", DeferredNoticeRow, "mailbox", ("body",)),
    ExportTable("friends", FriendRow, "account_id", ("friend_id", "since"), {"friend_id": "user_id"}),
    ExportTable("friend_requests", FriendRequestRow, "account_id", ("to_id", "at"), {"to_id": "user_id"}),
    ExportTable("friend_requests_received", FriendRequestRow, "to_id", ("account_id", "at"), {"account_id": "user_id"}),
    ExportTable("blocks", BlockRow, "account_id", ("blocked_id", "at"), {"blocked_id": "user_id"}),
    ExportTable(
        "invites",
        InviteRow,
        "account_id",
        ("id", "conversation_id", "max_uses", "uses", "created_at", "expires_at"),
        {"id": "invite_id"},
    ),
    ExportTable(
        "group_invitations", GroupInvitationRow, "account_id", ("conversation_id", "to_id", "at"), {"to_id": "user_id"}
    ),
    ExportTable("group_invitations_received", GroupInvitationRow, "to_id", _INVITED_BY, {"account_id": "user_id"}),
    ExportTable(
        "attachments",
        AttachmentRow,
        "account_id",
        ("id", "length", "received", "created_at", "completed_at", "expires_at"),
        {"id": "attachment_id"},
    ),
    ExportTable(
        "wake_ups",
        PushWakeupRow,
        "device",
        ("due_at", "is_urgent", "is_ring", "wakes", "attempts", "rest_until", "sent_at"),
    ),
    ExportTable("resting_names", ReservedUsernameRow, "account_id", ("free_on",)),
    ExportTable("events", AccountEventRow, "account_id", ("at", "name", "device_id", "detail")),
)
#: Tables that other sections export, or that have no data of an account.
EXPORTED_ELSEWHERE: Final[Mapping[str, str]] = {
    "conversation": "exported under conversations",
    "member": "exported under conversations",
    "envelope": "exported under mail",
    "content": "exported under mail",
    "message": "exported under posts",
    "mailbox_share": "counts of the envelopes under mail by sender",
    "fate": "of posts of others exported under receipts, of own posts under posts",
    "call": "a signal between nodes, gone within minutes",
    "operator_act": "the operator's log; what concerns the account is under events",
    "recovery_try": "counts of tries by keyed hashes, gone an hour after the last one",
    "otp_breaker": "an area of phone numbers, not of an account",
    "witness": "state of the node",
    "announcement": "what the operator announced to everybody",
    "workers": "state of the node",
    "partitions": "state of the node",
    "partition_map": "state of the node",
    "partition_plans": "what operators planned",
    "partition_history": "state of the node",
    "clock": "state of the node",
    "pepper": "state of the node",
    "ending": "a signal between nodes, gone within minutes",
}
#: Columns that are not exported, by name (in all tables) or by table and name.
WITHHELD_COLUMNS: Final[Mapping[str, str]] = {
    "phone_hash": "the number is in clear under account",
    "phone_sealed": "the number is in clear under account",
    "pepper_id": "which secret of the node was used",
    "account_id": "the id under account",
    "mailbox": "internal key; mailboxId identifies the mailbox",
    "device": "internal key; mailboxId identifies the device",
    "account.deleted_at": "a deleted account has no export",
    "account_pin.verifier": "hash of a secret",
    "device.id": "internal key; deviceId and mailboxId identify the device",
    "refresh_token.hash": "hash of a secret",
    "refresh_token.successor": "hash of a secret",
    "push_target.p256dh": "a secret of the device and its push service",
    "push_target.auth": "a secret of the device and its push service",
    "push_target.token": "a secret of the device and its push service",
    "resting_name.hash": "a hash; the name itself is not stored",
    "mailbox.id": "internal key",
    "mailbox.mailbox_id": "part of every row of a mailbox",
    "one_time_prekey.id": "internal key",
    "registration.token_hash": "hash of a secret",
    "registration.recovery_hash": "hash of a secret",
    "recovery_code.code_hash": "hash of a secret",
    "signup_attempt.attempt_hash": "hash of a secret",
    "signup_invitation.token_hash": "hash of a secret",
    "link.secret_hash": "hash of a secret",
    "link.token_hash": "hash of a secret",
    "link.approver": "internal key of a device",
    "link.approver_generation": "internal counter of sessions",
    "link.provisioning": "ciphertext for the new device, delivered once",
    "otp_challenge.id": "with it the code can be guessed",
    "otp_challenge.code_hash": "hash of a secret",
    "otp_challenge.network": "a keyed hash",
    "proven_network.id": "internal key",
    "proven_network.network": "a keyed hash",
    "otp_sent.id": "internal key",
    "otp_sent.network": "a keyed hash",
    "otp_sent.prefix": "a keyed hash",
    "otp_sent.area": "a keyed hash",
    "held_notice.id": "internal key",
    "held_notice.subject": "part of body",
    "held_notice.notice_id": "internal key until it is posted",
    "held_notice.try_at": "internal schedule",
    "notice.id": "internal key until it is posted",
    "notice.caused_by": "internal queue; the body says what it is about",
    "friend.id": "internal key",
    "friend_request.id": "internal key",
    "block.id": "internal key",
    "invite.token_hash": "hash of a secret",
    "group_invitation.id": "internal key",
    "attachment.parts": "internal location of the bytes",
    "attachment.writer": "internal counter",
    "notice.conversation_id": "part of body",
    "push_wake.acknowledged_seq": "the current value is under mailboxes",
    "push_wake.seq": "the current value is under mailboxes",
    "notice.without": "internal key of a mailbox",
    "account_event.id": "internal key",
}
