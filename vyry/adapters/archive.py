"""All that the database holds about an account, read page by page: what GET /account/export says.

`TABLES` and `ELSEWHERE` name every table there is, and every column but those in `WITHHELD`; tests/integration/test_export.py holds them against
the schema, so that a new table or column cannot be forgotten.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from tortoise.models import Model

from vyry.accounts.account import Caller
from vyry.accounts.events import AccountEvent
from vyry.accounts.export import Page
from vyry.adapters.account_events import note_event
from vyry.adapters.circle_rows import (
    AttachmentRow,
    BlockRow,
    FriendRequestRow,
    FriendRow,
    GroupInvitationRow,
    InviteRow,
    ProvenNetworkRow,
    RestingNameRow,
)
from vyry.adapters.circles import TortoiseConversations
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.held_rows import HeldNoticeRow
from vyry.adapters.receipts import TortoiseReceipts
from vyry.adapters.rows import (
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
    OtpPaceRow,
    OtpSentRow,
    PushTargetRow,
    PushWakeRow,
    RefreshTokenRow,
    RegistrationRow,
)
from vyry.adapters.statements import fetch
from vyry.clock import from_milliseconds
from vyry.errors import NotFound
from vyry.ids import MailboxKey, MessageId, UserId
from vyry.mail.receipts import Receipt, Receipts
from vyry.mail.store import CopyFate, MailStore, Want


_ROWS: Final = 200
_BYTES: Final = 1 << 20
_EVERYTHING_AFTER: Final = UUID(int=0)

Owner = Literal["id", "account_id", "to_id", "mailbox", "device", "phone_hash"]


@dataclass(frozen=True, slots=True)
class Table:
    """A section made of one table: which column says whose a row is, and which columns are told, by the names they have in the archive."""

    section: str
    rows: type[Model]
    owner: Owner
    columns: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)


_INVITED_BY: Final = ("conversation_id", "account_id", "at")
TABLES: Final = (
    Table(
        "account",
        AccountRow,
        "id",
        (
            *("id", "username", "display_name", "bio", "picture_attachment_id", "sealed_profile", "settings", "suite"),
            *("identity_key", "device_list_epoch", "last_device_id", "created_at", "suspended_at"),
        ),
        {"id": "user_id"},
    ),
    Table(
        "pin",
        AccountPinRow,
        "account_id",
        (*("registration_lock", "misses", "locked_until", "lock_misses", "lock_locked_until", "changed_at"),),
    ),
    Table(
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
    Table("sessions", RefreshTokenRow, "device", ("attempt_id", "used_at", "expires_at", "family_ends_at")),
    Table("push_targets", PushTargetRow, "device", ("kind", "endpoint", "topic")),
    Table(
        "mailboxes",
        MailboxRow,
        "id",
        (
            *("seq", "head", "acknowledged_seq", "acknowledged_head", "sent_seq", "mail_entries", "mail_bytes"),
            *("control_entries", "control_bytes", "notice_entries", "notice_bytes", "connection", "is_ended"),
            "is_pushed",
        ),
    ),
    Table(
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
    Table("one_time_prekeys", OneTimePrekeyRow, "mailbox", ("kind", "key_id", "public_key", "signature")),
    Table(
        "links",
        LinkRow,
        "account_id",
        (
            *("id", "public_key", "name", "platform", "requested_from", "status", "approver_public_key"),
            "expires_at",
        ),
        {"id": "link_id"},
    ),
    Table("registrations", RegistrationRow, "account_id", ("expires_at",)),
    Table(
        "codes",
        OtpChallengeRow,
        "phone_hash",
        ("purpose", "guesses_left", "is_used", "created_at", "expires_at"),
    ),
    Table("codes_sent", OtpSentRow, "phone_hash", ("at", "cost", "is_verified")),
    Table("proven_networks", ProvenNetworkRow, "phone_hash", ("proven_on",)),
    Table("last_code", OtpPaceRow, "phone_hash", ("sent_at",)),
    Table("notices", NoticeRow, "account_id", ("at", "audience", "body")),
    Table("held_notices", HeldNoticeRow, "mailbox", ("body",)),
    Table("friends", FriendRow, "account_id", ("friend_id", "since"), {"friend_id": "user_id"}),
    Table("friend_requests", FriendRequestRow, "account_id", ("to_id", "at"), {"to_id": "user_id"}),
    Table("friend_requests_received", FriendRequestRow, "to_id", ("account_id", "at"), {"account_id": "user_id"}),
    Table("blocks", BlockRow, "account_id", ("blocked_id", "at"), {"blocked_id": "user_id"}),
    Table(
        "invites",
        InviteRow,
        "account_id",
        ("id", "conversation_id", "max_uses", "uses", "created_at", "expires_at"),
        {"id": "invite_id"},
    ),
    Table(
        "group_invitations", GroupInvitationRow, "account_id", ("conversation_id", "to_id", "at"), {"to_id": "user_id"}
    ),
    Table("group_invitations_received", GroupInvitationRow, "to_id", _INVITED_BY, {"account_id": "user_id"}),
    Table(
        "attachments",
        AttachmentRow,
        "account_id",
        ("id", "length", "received", "created_at", "completed_at", "expires_at"),
        {"id": "attachment_id"},
    ),
    Table(
        "wake_ups",
        PushWakeRow,
        "device",
        ("due_at", "is_urgent", "is_ring", "wakes", "attempts", "rest_until", "sent_at"),
    ),
    Table("resting_names", RestingNameRow, "account_id", ("free_on",)),
    Table("events", AccountEventRow, "account_id", ("at", "name", "device_id", "detail")),
)
#: Tables that are told in another way, or hold nothing about anybody in particular.
ELSEWHERE: Final[Mapping[str, str]] = {
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
WITHHELD: Final[Mapping[str, str]] = {
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
_MESSAGES: Final = """
    SELECT message_id, accepted_at FROM message WHERE sender = $1 AND message_id > $2 ORDER BY message_id LIMIT $3"""
#: How much mail of a mailbox came to which end, moment by moment.
_RECEIPTS: Final = {
    "postgres": """
    SELECT at, sum(CASE WHEN state = 1 THEN cardinality(numbers) ELSE 0 END) AS acknowledged,
        sum(CASE WHEN state = 2 THEN cardinality(numbers) ELSE 0 END) AS expired,
        sum(CASE WHEN state = 3 THEN cardinality(numbers) ELSE 0 END) AS dropped
    FROM fate WHERE mailbox = $1 AND at > $2 GROUP BY at ORDER BY at LIMIT $3""",
    "sqlite": """
    SELECT at, sum(CASE WHEN state = 1 THEN length(numbers) / 8 ELSE 0 END) AS acknowledged,
        sum(CASE WHEN state = 2 THEN length(numbers) / 8 ELSE 0 END) AS expired,
        sum(CASE WHEN state = 3 THEN length(numbers) / 8 ELSE 0 END) AS dropped
    FROM fate WHERE mailbox = $1 AND at > $2 GROUP BY at ORDER BY at LIMIT $3""",
}


@dataclass(frozen=True, slots=True)
class _Whose:
    """What an account's rows are found by. `mailbox_ids` names each mailbox and each device by the id that its owner knows."""

    user_id: UserId
    numbers: Sequence[str]
    mailboxes: Sequence[MailboxKey]
    devices: Sequence[UUID]
    mailbox_ids: Mapping[object, UUID]


class TortoiseArchive:
    """Archive on PostgreSQL or SQLite."""

    def __init__(self, mail: MailStore) -> None:
        self._mail = mail
        self._receipts = Receipts(mail.upkeep, TortoiseReceipts())

    async def note(self, caller: Caller, now: datetime) -> None:
        async with transaction() as inside:
            await note_event(inside, AccountEvent(caller.user_id, "exported", now, caller.device_id))

    async def pages(self, user_id: UserId, numbers: Collection[str]) -> AsyncIterator[Page]:
        async with available():
            devices = await DeviceRow.filter(account_id=user_id).order_by("mailbox")
        boxes = [MailboxKey(device.mailbox) for device in devices]
        named = {key: each.mailbox_id for each in devices for key in (each.mailbox, each.id)}
        whose = _Whose(user_id, list(numbers), boxes, [device.id for device in devices], named)
        for table in TABLES:
            async for page in _told(table, whose):
                yield page
        for parts in (_conversations(whose), self._waiting(whose), self._posts(whose), _receipts(whose)):
            async for page in parts:
                yield page

    async def _waiting(self, whose: _Whose) -> AsyncIterator[Page]:
        """What waits in the mailboxes, as their devices would collect it."""
        yield Page("mail", [])
        await self._mail.deposit(whose.mailboxes)
        for state in await self._mail.states(whose.mailboxes):
            after = state.acknowledged.seq
            while after < state.last.seq:
                entries = await self._mail.collect([Want(state.mailbox, after, _ROWS, _BYTES)])
                if not entries:
                    break
                after = entries[-1].seq
                yield Page("mail", [{"mailbox_id": state.mailbox_id, "entry": entry} for entry in entries])

    async def _posts(self, whose: _Whose) -> AsyncIterator[Page]:
        """What the account posted in the last 30 days, and what became of each copy."""
        yield Page("posts", [])
        for mailbox in whose.mailboxes:
            async for message_id, at in _messages(mailbox):
                named = {"mailbox_id": whose.mailbox_ids[mailbox], "message_id": message_id, "accepted_at": at}
                # Its time may end just now. No more is told of others than at any other time.
                with suppress(NotFound):
                    copies = [_fate(each) for each in await self._receipts.of(whose.user_id, message_id)]
                    yield Page("posts", [{**named, "copies": copies}])


def _fate(of: CopyFate | Receipt) -> dict[str, object]:
    if isinstance(of, Receipt):
        return {"user_id": of.user_id, "state": of.state.value, "at": of.at}
    return {**asdict(of.address), "state": of.state.value, "at": of.at}


async def _told(table: Table, whose: _Whose) -> AsyncIterator[Page]:
    """The rows of one table, by rising key."""
    key = table.rows._meta.pk_attr  # noqa: SLF001 - Tortoise has no other door
    owners: Mapping[str, Sequence[object]] = {
        "account_id": [whose.user_id],
        "to_id": [whose.user_id],
        "phone_hash": whose.numbers,
        "mailbox": whose.mailboxes,
        "device": whose.devices,
        "id": whose.mailboxes if table.rows is MailboxRow else [whose.user_id],
    }
    mine = table.rows.filter(**{f"{table.owner}__in": owners[table.owner]}).order_by(key)
    after: object = None
    while True:
        async with available():
            rows = await (mine if after is None else mine.filter(**{f"{key}__gt": after})).limit(_ROWS)
        if rows or after is None:
            yield Page(table.section, [_row(table, row, whose) for row in rows])
        if len(rows) < _ROWS:
            return
        after = getattr(rows[-1], key)


def _row(table: Table, row: Model, whose: _Whose) -> dict[str, object]:
    told = {table.renamed.get(name, name): getattr(row, name) for name in table.columns}
    named = whose.mailbox_ids.get(getattr(row, table.owner))
    return told if named is None else {"mailbox_id": named, **told}


async def _conversations(whose: _Whose) -> AsyncIterator[Page]:
    after = None
    while True:
        page = await TortoiseConversations().list(whose.user_id, _ROWS, after)
        yield Page("conversations", [{"conversation": each} for each in page.conversations])
        if page.next_cursor is None:
            return
        after = page.next_cursor


async def _messages(mailbox: MailboxKey) -> AsyncIterator[tuple[MessageId, datetime]]:
    """The posts of one device, by rising id."""
    is_sqlite = connection().capabilities.dialect == "sqlite"
    after = _EVERYTHING_AFTER
    while True:
        async with available():
            rows = await fetch(connection(), _MESSAGES, mailbox, after.bytes if is_sqlite else after, _ROWS)
        for row in rows:
            after = UUID(bytes=row["message_id"]) if is_sqlite else row["message_id"]
            at = row["accepted_at"]
            yield MessageId(after), from_milliseconds(at) if is_sqlite else at
        if len(rows) < _ROWS:
            return


async def _receipts(whose: _Whose) -> AsyncIterator[Page]:
    """When mail to the account came to which end: the other side of others' outcomes."""
    yield Page("receipts", [])
    is_sqlite = connection().capabilities.dialect == "sqlite"
    for mailbox in whose.mailboxes:
        after: object = 0 if is_sqlite else from_milliseconds(0)
        while True:
            async with available():
                rows = await fetch(connection(), _RECEIPTS[connection().capabilities.dialect], mailbox, after, _ROWS)
            named = {"mailbox_id": whose.mailbox_ids[mailbox]}
            yield Page("receipts", [{**named, **row, "at": _moment(row["at"])} for row in rows])
            if len(rows) < _ROWS:
                break
            after = rows[-1]["at"]


def _moment(at: int | datetime) -> datetime:
    return at if isinstance(at, datetime) else from_milliseconds(at)
