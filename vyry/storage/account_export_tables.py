"""What the archive of an account is made of: every table and every column, or why it is left out.

`TABLES` and `ELSEWHERE` name every table there is, and every column but those in `WITHHELD`; tests/integration/test_export.py holds them against
the schema, so that a new table or column cannot be forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tortoise.models import Model

from vyry.storage.conversation_models import (
    AttachmentRow,
    BlockRow,
    FriendRequestRow,
    FriendRow,
    GroupInvitationRow,
    InviteRow,
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
    NoticeRow,
    OneTimePrekeyRow,
    OtpChallengeRow,
    OtpSentRow,
    PushTargetRow,
    PushWakeupRow,
    RefreshTokenRow,
    UnlockTokenRow,
)
from vyry.storage.notice_models import DeferredNoticeRow


OwnerColumn = Literal["id", "account_id", "to_id", "mailbox", "device", "phone_hash"]


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A section made of one table: which column says whose a row is, and which columns are told, by the names they have in the archive."""

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
#: Tables that are told in another way, or hold nothing about anybody in particular.
EXPORTED_ELSEWHERE: Final[Mapping[str, str]] = {
    "conversation": "told under conversations",
    "member": "told under conversations",
    "envelope": "told under mail",
    "content": "told under mail",
    "message": "told under posts",
    "mailbox_share": "how much of what stands under mail comes from whom",
    "fate": "of others' posts told under receipts, of the own ones under posts",
    "call": "a signal between nodes, gone within minutes",
    "operator_act": "the operator's record of its own acts; what concerns the account stands under events",
    "otp_breaker": "an area of numbers, nobody's in particular",
    "witness": "the node's own",
    "clock": "the node's own",
    "pepper": "the node's own",
    "ending": "a signal between nodes, gone within minutes",
}
#: Columns that are not told, by their name alone or with their table's.
WITHHELD_COLUMNS: Final[Mapping[str, str]] = {
    "phone_hash": "the number stands in clear under account",
    "phone_sealed": "the number stands in clear under account",
    "pepper_id": "which secret of the node a value is made under",
    "account_id": "the same everywhere, it stands under account",
    "mailbox": "the node's own key; mailboxId says which mailbox it is",
    "device": "the node's own key; mailboxId says which device it is",
    "account.deleted_at": "a deleted account has no archive",
    "account_pin.verifier": "a secret, even if only its hash",
    "device.id": "the node's own key; deviceId and mailboxId say which device it is",
    "refresh_token.hash": "stands for a secret",
    "refresh_token.successor": "stands for a secret",
    "push_target.p256dh": "a secret between the device and those who wake it",
    "push_target.auth": "a secret between the device and those who wake it",
    "push_target.token": "a secret between the device and those who wake it",
    "resting_name.hash": "a hash from which nothing can be read; the name itself is kept nowhere",
    "mailbox.id": "the node's own key",
    "mailbox.mailbox_id": "stands beside every row of a mailbox",
    "one_time_prekey.id": "the node's own key",
    "registration.token_hash": "stands for a secret",
    "link.secret_hash": "stands for a secret",
    "link.token_hash": "stands for a secret",
    "link.approver": "the node's own key of a device",
    "link.approver_generation": "the node's own count of a device's sessions",
    "link.provisioning": "ciphertext for the new device, taken once",
    "otp_challenge.id": "whoever knows it may guess at the code",
    "otp_challenge.code_hash": "stands for a secret",
    "otp_challenge.network": "a keyed hash from which nothing can be read",
    "proven_network.id": "the node's own key",
    "proven_network.network": "a keyed hash from which nothing can be read",
    "otp_sent.id": "the node's own key",
    "otp_sent.network": "a keyed hash from which nothing can be read",
    "otp_sent.prefix": "a keyed hash from which nothing can be read",
    "otp_sent.area": "a keyed hash from which nothing can be read",
    "held_notice.id": "the node's own key",
    "held_notice.subject": "stands in its body",
    "held_notice.notice_id": "the node's own key until it is posted",
    "held_notice.try_at": "the node's own work",
    "notice.id": "the node's own key until it is posted",
    "notice.caused_by": "whose turn it waits for; the body says what it is about",
    "friend.id": "the node's own key",
    "friend_request.id": "the node's own key",
    "block.id": "the node's own key",
    "invite.token_hash": "stands for a secret",
    "group_invitation.id": "the node's own key",
    "attachment.parts": "where the node keeps the bytes",
    "attachment.writer": "the node's own count",
    "notice.conversation_id": "stands in its body",
    "push_wake.acknowledged_seq": "stands, as it is now, under mailboxes",
    "push_wake.seq": "stands, as it is now, under mailboxes",
    "notice.without": "the node's own key of a mailbox",
    "account_event.id": "the node's own key",
}
