"""A post as a client makes it, and its check: who may write to whom, and are these exactly the recipients' devices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from vyry.circles.conversations import Conversation
from vyry.clock import milliseconds
from vyry.devices.directory import Recipient
from vyry.errors import InvalidRequest, NotAMember, NotFound, StaleDevices
from vyry.ids import ConversationId, DeviceAddress, DeviceId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import Envelope, Lane
from vyry.mail.store import Content, Copy, Message


MAX_COPIES = 1_000


class DraftCopy(Protocol):
    """One device that is to get a copy."""

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
    """The body of a post (docs/protocol.md, Post); the web's shape of it fits."""

    @property
    def message_id(self) -> UUID: ...
    @property
    def conversation_id(self) -> UUID: ...
    @property
    def conversation_version(self) -> int | None: ...
    @property
    def lane(self) -> str: ...
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
class Circle:
    """What a post is checked against: device lists by account and the conversation, as this node believes them to be."""

    lists: Mapping[UserId, Recipient]
    conversation: Conversation | None


@dataclass(slots=True)
class _Difference:
    missing: list[dict[str, object]] = field(default_factory=list)
    extra: list[dict[str, object]] = field(default_factory=list)
    stale: list[dict[str, object]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.stale)


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """A draft of the right shape, with the hash of each content and the fingerprint that makes two bodies the same."""

    sender: Sender
    draft: Draft
    hashes: Mapping[int, bytes]
    fingerprint: bytes

    @property
    def users(self) -> set[UserId]:
        """The accounts whose device lists the check needs."""
        return {self.sender.user_id, *(UserId(r.user_id) for r in self.draft.recipients)}

    @property
    def key(self) -> tuple[MailboxKey, MessageId]:
        """What makes a post the same post."""
        return self.sender.mailbox, MessageId(self.draft.message_id)


def check_shape(sender: Sender, draft: Draft) -> CheckedDraft:
    """What can be said of a draft without asking anybody. Raises InvalidRequest."""
    users = [recipient.user_id for recipient in draft.recipients]
    if len(set(users)) < len(users):
        raise InvalidRequest(fields=[{"field": "recipients", "problem": "an account is named twice"}])
    count = sum(len(recipient.devices) for recipient in draft.recipients)
    if count > MAX_COPIES:
        raise InvalidRequest(fields=[{"field": "recipients", "problem": f"more than {MAX_COPIES} device copies"}])
    shared = None if draft.content is None else sha256(draft.content).digest()
    hashes: dict[int, bytes] = {}
    rows = []
    for recipient in draft.recipients:
        _check_devices(recipient, draft.content)
        for copy in recipient.devices:
            digest = sha256(copy.content).digest() if copy.content is not None else shared
            assert digest is not None
            hashes[id(copy)] = digest
            named = f"{recipient.user_id.hex}.{copy.device_id:03}.{copy.registration_id}.{copy.kind}."
            rows.append(named.encode() + digest)
    head = f"{draft.conversation_id.hex}.{draft.lane}.{draft.expires_in_seconds}."
    return CheckedDraft(sender, draft, hashes, sha256(head.encode() + b"".join(sorted(rows))).digest())


def _check_devices(recipient: DraftRecipient, shared: bytes | None) -> None:
    numbers = {copy.device_id for copy in recipient.devices}
    if len(numbers) < len(recipient.devices):
        raise InvalidRequest(fields=[{"field": "recipients.devices", "problem": "a device is named twice"}])
    if shared is None and any(copy.content is None for copy in recipient.devices):
        raise InvalidRequest(
            fields=[{"field": "recipients.devices.content", "problem": "a device without any content"}]
        )


def check_reach(checked: CheckedDraft, circle: Circle) -> None:
    """May this sender write to these people, and are these exactly their devices? Raises NotAMember, NotFound, StaleDevices."""
    sender, draft, conversation = checked.sender, checked.draft, circle.conversation
    if conversation is None or sender.user_id not in conversation.members:
        raise NotAMember
    if any(r.user_id not in conversation.members or r.user_id not in circle.lists for r in draft.recipients):
        raise NotFound
    is_outdated = draft.conversation_version is not None and draft.conversation_version != conversation.version
    difference = _compare(checked, circle, conversation.members if is_outdated else ())
    if difference or is_outdated:
        raise StaleDevices(
            missing=difference.missing,
            extra=difference.extra,
            stale=difference.stale,
            epochs={str(user): circle.lists[user].epoch for user in sorted(checked.users) if user in circle.lists},
            conversationVersion=conversation.version,
        )


def _compare(checked: CheckedDraft, circle: Circle, all_of: Mapping[UserId, object] | tuple[()]) -> _Difference:
    named: dict[UserId, dict[DeviceId, DraftCopy]] = {
        UserId(r.user_id): {DeviceId(c.device_id): c for c in r.devices} for r in checked.draft.recipients
    }
    difference = _Difference()
    own = checked.sender.user_id
    for user in dict.fromkeys([*named, own, *all_of]):
        present = circle.lists[user].devices if user in circle.lists else {}
        copies = named.get(user, {})
        for device, listed in present.items():
            if user == own and device == checked.sender.device_id:
                continue
            copy = copies.get(device)
            row = {"userId": str(user), "deviceId": device, "registrationId": listed.registration_id}
            if copy is None:
                difference.missing.append(row)
            elif copy.registration_id != listed.registration_id:
                difference.stale.append(row)
        for device in copies:
            if device not in present or (user == own and device == checked.sender.device_id):
                difference.extra.append({"userId": str(user), "deviceId": device})
    return difference


def to_message(checked: CheckedDraft, circle: Circle, now: datetime) -> Message:
    """The message to be stored: each distinct (kind, content) once, each device a copy of one of them."""
    draft, sender = checked.draft, checked.sender
    lane = Lane.CONTROL if draft.lane == "control" else Lane.MAIL
    expires_at = now + timedelta(seconds=draft.expires_in_seconds)
    places: dict[tuple[int, int], int] = {}
    uses: list[int] = []
    copies: list[Copy] = []
    envelopes: list[tuple[Envelope, bytes]] = []
    for recipient in draft.recipients:
        devices = circle.lists[UserId(recipient.user_id)].devices
        for copy in recipient.devices:
            content = draft.content if copy.content is None else copy.content
            assert content is not None
            key = (copy.kind, id(content))
            place = places.get(key)
            if place is None:
                place = places[key] = len(envelopes)
                uses.append(0)
                envelopes.append(
                    (_envelope(sender, draft, content, (now, expires_at), (lane, copy.kind)), checked.hashes[id(copy)])
                )
            uses[place] += 1
            copies.append(Copy(devices[DeviceId(copy.device_id)].mailbox, place))
    contents = [
        Content(envelope.pack(), envelope.digest(content_hash), len(envelope.content), uses[i])
        for i, (envelope, content_hash) in enumerate(envelopes)
    ]
    return Message(
        sender.mailbox, MessageId(draft.message_id), checked.fingerprint, now, expires_at, lane, contents, copies
    )


def _envelope(
    sender: Sender, draft: Draft, content: bytes, life: tuple[datetime, datetime], lane_and_kind: tuple[Lane, int]
) -> Envelope:
    return Envelope(
        sender.user_id,
        sender.device_id,
        MessageId(draft.message_id),
        ConversationId(draft.conversation_id),
        milliseconds(life[0]),
        milliseconds(life[1]),
        *lane_and_kind,
        content,
    )


def addresses(lists: Mapping[UserId, Recipient]) -> dict[MailboxKey, DeviceAddress]:
    """Whose mailbox is whose, of these lists."""
    return {
        listed.mailbox: DeviceAddress(user, device)
        for user, recipient in lists.items()
        for device, listed in recipient.devices.items()
    }
