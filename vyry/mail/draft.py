"""The body of a post request, and its checks: may the sender write to the recipients, and are the copies exactly for their current devices."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from vyry.conversations.conversations import Conversation, ConversationKind, Member, Role
from vyry.devices.device_lists import ListedDevice, Recipient
from vyry.errors import InvalidRequest, NotAMember, NotFound, StaleDevices
from vyry.kernel.ids import ConversationId, DeviceAddress, DeviceId, MailboxKey, MessageId, UserId
from vyry.kernel.sizes import MAX_COPIES
from vyry.kernel.time import to_milliseconds
from vyry.mail.envelope import Lane, pack_with_digest
from vyry.mail.store import Content, Copy, Message


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POST: Final = struct.Struct(">16s??I")
_COPY: Final = struct.Struct(">16sBHB")


class DraftCopy(Protocol):
    """One copy, for a device."""

    @property
    def device_id(self) -> int: ...
    @property
    def registration_id(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def content(self) -> bytes | None: ...


class DraftRecipient(Protocol):
    """One account and its devices."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def devices(self) -> Sequence[DraftCopy]: ...


class Draft(Protocol):
    """The body of a post (docs/protocol.md, Post); web/wire/messages.py implements it."""

    @property
    def message_id(self) -> UUID: ...
    @property
    def conversation_id(self) -> UUID: ...
    @property
    def conversation_version(self) -> int | None: ...
    @property
    def lane(self) -> str: ...
    @property
    def urgent(self) -> bool: ...
    @property
    def expires_in_seconds(self) -> int: ...
    @property
    def content(self) -> bytes | None: ...
    @property
    def recipients(self) -> Sequence[DraftRecipient]: ...


@dataclass(frozen=True, slots=True)
class Sender:
    """The posting device."""

    user_id: UserId
    device_id: DeviceId
    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class ConversationMembers:
    """The cached state for the check of a post: device lists by account, and the conversation."""

    device_lists: Mapping[UserId, Recipient]
    conversation: Conversation | None


@dataclass(slots=True)
class _DeviceDiff:
    missing: list[dict[str, object]] = field(default_factory=list)
    extra: list[dict[str, object]] = field(default_factory=list)
    stale: list[dict[str, object]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.stale)


class CheckedDraft(NamedTuple):
    """A valid draft. `hashes[i]` is the hash of the content of copy i, counted over all recipients."""

    sender: Sender
    draft: Draft
    hashes: Sequence[bytes]
    #: Equal for equal bodies.
    fingerprint: bytes
    #: The accounts whose device lists the check needs.
    users: set[UserId]

    @property
    def key(self) -> tuple[MailboxKey, MessageId]:
        """The idempotency key of the post."""
        return self.sender.mailbox, MessageId(self.draft.message_id)


def content_bytes(draft: Draft) -> int:
    """The bytes of content as sent: shared content counts once."""
    own = sum(len(copy.content) for each in draft.recipients for copy in each.devices if copy.content is not None)
    return len(draft.content or b"") + own


def validate_draft(sender: Sender, draft: Draft) -> CheckedDraft:
    """Check a draft without the database. Raises InvalidRequest."""
    shared = None if draft.content is None else sha256(draft.content).digest()
    users: set[UserId] = set()
    hashes: list[bytes] = []
    rows: list[bytes] = []
    for recipient in draft.recipients:
        user = UserId(recipient.user_id)
        if user in users:
            raise InvalidRequest(fields=[{"field": "recipients", "problem": "an account is named twice"}])
        users.add(user)
        devices = recipient.devices
        if len(devices) > 1 and len({copy.device_id for copy in devices}) < len(devices):
            raise InvalidRequest(fields=[{"field": "recipients.devices", "problem": "a device is named twice"}])
        for copy in devices:
            digest = shared if copy.content is None else sha256(copy.content).digest()
            if digest is None:
                problem = {
                    "field": "recipients.devices.content",
                    "problem": "no content for a device, and no shared content",
                }
                raise InvalidRequest(fields=[problem])
            hashes.append(digest)
            rows.append(_COPY.pack(user.bytes, copy.device_id, copy.registration_id, copy.kind) + digest)
    if len(hashes) > MAX_COPIES:
        raise InvalidRequest(fields=[{"field": "recipients", "problem": f"more than {MAX_COPIES} device copies"}])
    rows.sort()
    head = _POST.pack(draft.conversation_id.bytes, draft.lane == "control", draft.urgent, draft.expires_in_seconds)
    users.add(sender.user_id)
    return CheckedDraft(sender, draft, hashes, sha256(head + b"".join(rows)).digest(), users)


def check_recipients(checked: CheckedDraft, conversation_members: ConversationMembers) -> None:
    """Check that the sender may write to the recipients and that these are exactly their devices. Raises NotAMember, NotFound, StaleDevices."""
    conversation_members = _with_self_conversation(checked, conversation_members)
    sender, draft, conversation = checked.sender, checked.draft, conversation_members.conversation
    if conversation is None or sender.user_id not in conversation.members:
        raise NotAMember
    if conversation.is_blocked and checked.users != {sender.user_id}:
        raise NotFound
    is_outdated = draft.conversation_version is not None and draft.conversation_version != conversation.version
    if not is_outdated and _is_current(checked, conversation_members, conversation):
        return
    # A sender that names an older version learns which recipients have left; for every other one an account outside the conversation does not exist.
    if not is_outdated and any(
        r.user_id not in conversation.members or r.user_id not in conversation_members.device_lists
        for r in draft.recipients
    ):
        raise NotFound
    difference = _diff_recipients(checked, conversation_members, conversation.members if is_outdated else ())
    if difference or is_outdated:
        raise StaleDevices(
            missing=difference.missing,
            extra=difference.extra,
            stale=difference.stale,
            epochs=_epochs(checked, conversation_members, conversation.members if is_outdated else ()),
            conversationVersion=conversation.version,
        )


def _with_self_conversation(checked: CheckedDraft, conversation_members: ConversationMembers) -> ConversationMembers:
    """The conversation of an account with itself: its id is that of the account, it has no other member, and it is stored nowhere."""
    own = checked.sender.user_id
    if checked.draft.conversation_id != own:
        return conversation_members
    members = {own: Member(Role.MEMBER, _EPOCH)}
    conversation = Conversation(ConversationId(own), ConversationKind.DIRECT, members, 1, None, None, _EPOCH, _EPOCH)
    return replace(conversation_members, conversation=conversation)


def _is_current(checked: CheckedDraft, conversation_members: ConversationMembers, conversation: Conversation) -> bool:
    """Whether the draft names exactly the current devices: the fast path. `_diff_recipients` checks the same rule and reports each difference."""
    sender = checked.sender
    is_own_named = False
    for recipient in checked.draft.recipients:
        user = UserId(recipient.user_id)
        listed = conversation_members.device_lists.get(user)
        if listed is None or user not in conversation.members:
            return False
        expected = len(listed.devices)
        if user == sender.user_id:
            is_own_named = True
            expected -= sender.device_id in listed.devices
        if len(recipient.devices) != expected or not all(
            _is_listed(copy, listed, sender) for copy in recipient.devices
        ):
            return False
    own = conversation_members.device_lists.get(sender.user_id)
    return is_own_named or own is None or not own.devices.keys() - {sender.device_id}


def _is_listed(copy: DraftCopy, recipient: Recipient, sender: Sender) -> bool:
    device = recipient.devices.get(DeviceId(copy.device_id))
    return device is not None and device.registration_id == copy.registration_id and device.mailbox != sender.mailbox


def _diff_recipients(
    checked: CheckedDraft, conversation_members: ConversationMembers, expected_users: Iterable[UserId]
) -> _DeviceDiff:
    sender = checked.sender
    difference = _DeviceDiff()
    unnamed = {sender.user_id, *expected_users}
    for recipient in checked.draft.recipients:
        user = UserId(recipient.user_id)
        unnamed.discard(user)
        _diff_devices(sender, user, recipient.devices, (conversation_members, difference))
    for user in unnamed:
        _diff_devices(sender, user, (), (conversation_members, difference))
    return difference


def _epochs(
    checked: CheckedDraft, conversation_members: ConversationMembers, expected_users: Iterable[UserId]
) -> dict[str, int]:
    members = conversation_members.conversation.members if conversation_members.conversation is not None else {}
    concerned = sorted(checked.users.union(expected_users))
    return {
        str(user): conversation_members.device_lists[user].epoch
        for user in concerned
        if user in conversation_members.device_lists and user in members
    }


def _diff_devices(
    sender: Sender, user: UserId, copies: Sequence[DraftCopy], found: tuple[ConversationMembers, _DeviceDiff]
) -> None:
    members, difference = found
    recipient = members.device_lists.get(user)
    is_member = members.conversation is not None and user in members.conversation.members
    present = recipient.devices if recipient is not None and is_member else {}
    own = sender.device_id if user == sender.user_id else 0
    named = 0
    for copy in copies:
        listed = present.get(DeviceId(copy.device_id))
        if listed is None or copy.device_id == own:
            difference.extra.append({"userId": str(user), "deviceId": copy.device_id})
            continue
        named += 1
        if copy.registration_id != listed.registration_id:
            difference.stale.append(_device_json(user, DeviceId(copy.device_id), listed))
    if named < len(present) - (own in present):
        have = {copy.device_id for copy in copies} | {own}
        difference.missing += [
            _device_json(user, device, listed) for device, listed in present.items() if device not in have
        ]


def _device_json(user: UserId, device: DeviceId, listed: ListedDevice) -> dict[str, object]:
    return {"userId": str(user), "deviceId": device, "registrationId": listed.registration_id}


def build_message(
    checked: CheckedDraft, conversation_members: ConversationMembers, now: datetime, max_life_seconds: int
) -> Message:
    """The message to be stored: each distinct (kind, content) once, each device a copy of one of them.

    It lives as long as the sender asked for, at most `max_life_seconds`.
    """
    draft, sender = checked.draft, checked.sender
    lane = Lane.CONTROL if draft.lane == "control" else Lane.MAIL
    seconds, posted_ms = min(draft.expires_in_seconds, max_life_seconds), to_milliseconds(now)
    expires_at = now + timedelta(seconds=seconds)
    origin = sender.user_id.bytes, sender.device_id, draft.message_id.bytes, draft.conversation_id.bytes
    life = posted_ms, posted_ms + seconds * 1000, int(lane)
    content_by_kind: dict[int, int] = {}
    contents, copies = list[Content](), list[Copy]()
    for recipient in draft.recipients:
        devices = conversation_members.device_lists[UserId(recipient.user_id)].devices
        for copy in recipient.devices:
            # Only shared content has several copies: one stored content for each kind.
            index = content_by_kind.get(copy.kind) if copy.content is None else None
            if index is None:
                index = len(contents)
                content = draft.content if copy.content is None else copy.content
                assert content is not None
                packed, digest = pack_with_digest((*origin, *life, copy.kind), content, checked.hashes[len(copies)])
                contents.append(Content(packed, digest, len(content), 1))
                if copy.content is None:
                    content_by_kind[copy.kind] = index
            else:
                contents[index] = contents[index]._replace(copies=contents[index].copies + 1)
            copies.append(Copy(devices[DeviceId(copy.device_id)].mailbox, index))
    key, conversation = (sender.mailbox, MessageId(draft.message_id)), ConversationId(draft.conversation_id)
    return Message(
        *key, checked.fingerprint, now, expires_at, lane, contents, copies, draft.urgent, conversation_id=conversation
    )


def with_quota_owner(checked: CheckedDraft, conversation_members: ConversationMembers, message: Message) -> Message:
    """The message, with the quota that it counts against."""
    is_group = (
        conversation_members.conversation is not None
        and conversation_members.conversation.kind is ConversationKind.GROUP
    )
    return message._replace(quota_owner=checked.sender.user_id, is_from_acquaintance=is_group)


def copy_addresses(draft: Draft) -> list[DeviceAddress]:
    """The device of each copy, in the order of the copies."""
    return [
        DeviceAddress(UserId(recipient.user_id), DeviceId(copy.device_id))
        for recipient in draft.recipients
        for copy in recipient.devices
    ]
