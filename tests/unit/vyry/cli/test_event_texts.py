"""Events in words: each kind of event that is stored has a line for people, which says what happened and what to do."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

from vyry.cli.client.event_texts import describe_event
from vyry.client.store.events import (
    _STORED_TYPES,
    Announcement,
    ConversationForged,
    DeviceListDiffers,
    Event,
    Lost,
    MemberAdded,
    Notice,
    NotSent,
    OwnDeviceAdded,
    OwnIdentityForged,
    Target,
    Unreadable,
)
from web.wire.mailbox import Notice as NodeNotice


ID = UUID(int=7)
#: A value for each type of a field.
VALUES: Mapping[Any, Any] = {
    UUID: ID,
    int: 3,
    float: 1.5,
    bool: True,
    Target: Target(ID, ID),
    tuple[UUID, ...]: (ID,),
    tuple[Target, ...]: (Target(ID, ID),),
}
#: Fields that say one of few words.
WORDS: Mapping[type[Event], Mapping[str, str]] = {
    ConversationForged: {"reason": "member"},
    OwnIdentityForged: {"source": "list"},
    DeviceListDiffers: {"seen_by": "node"},
}


def make_event(kind: type[Event]) -> Event:
    """An event with a value for each field that it needs."""
    hints = get_type_hints(kind)
    needed = [
        each for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING and each.init
    ]
    return kind(**{each.name: WORDS.get(kind, {}).get(each.name, sample_value(hints[each.name])) for each in needed})


def sample_value(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        hint = get_args(hint)[0]
    return VALUES.get(hint, "some words")


@pytest.mark.parametrize("kind", _STORED_TYPES.values(), ids=_STORED_TYPES)
def test_every_stored_event_has_words(kind: type[Event]) -> None:
    said = describe_event(make_event(kind), "@bo")

    assert said
    assert said != f"({kind.name})"
    assert "None" not in said


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        (OwnIdentityForged(source="bundle", device_id=3), ("prekeys", "device 3", "operator")),
        (OwnDeviceAdded(device_id=2, device_name="tablet", platform="linux"), ('"tablet", linux', "devices remove 2")),
        (OwnDeviceAdded(device_id=2), ("number 2",)),
        (ConversationForged(conversation_id=ID, reason="member", user_ids=(ID,)), ("other members", "operator")),
        (ConversationForged(conversation_id=ID, reason="kind"), ("a group",)),
        (MemberAdded(conversation_id=ID, user_id=ID, is_verified=False), ("@bo was added", "not verified")),
        (MemberAdded(conversation_id=ID, user_id=ID, is_verified=True), ("is verified",)),
        (DeviceListDiffers(user_id=ID, device_id=4, seen_by="node"), ("lists device 4 of @bo",)),
        (DeviceListDiffers(user_id=ID, seen_by="peer"), ("does not list a device",)),
        (Lost(seq=5, through_seq=5, reason="rolledBack", count=0), ("older copy", "created again")),
        (Lost(seq=5, through_seq=5, reason="expired", count=1), ("1 message was lost",)),
        (Lost(seq=5, through_seq=6, reason="expired", count=2), ("2 messages were lost",)),
        (Lost(seq=5, through_seq=6, reason="operator", count=2), ("operator of the node dropped", "(2)")),
        (Announcement(announcement_id="1", text="Hello"), ("Announcement of the operator of this node: Hello",)),
        (
            NotSent(conversation_id=ID, id=ID, kind="text", reason="IdentityChanged", is_kept=True),
            ("held until you decide", "chats"),
        ),
        (NotSent(conversation_id=ID, id=ID, kind="text", reason="TOO_LARGE"), ("could not be sent",)),
    ],
)
def test_a_line_says_what_happened_and_what_to_do(event: Event, parts: tuple[str, ...]) -> None:
    said = describe_event(event, "@bo")

    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize(
    ("reason", "is_awaited", "end"),
    [
        ("SenderRewound", False, "used a message key twice. Ask @bo to send it again."),
        ("SenderRewound", True, "used a message key twice. Vyry asked their device to send it again."),
        ("BadMessage", True, "Vyry asked their device to send it again."),
        ("resync", False, "Ask @bo to send it again."),
    ],
)
def test_what_could_not_be_read_says_whether_it_comes_again(reason: str, is_awaited: bool, end: str) -> None:
    where: dict[str, Any] = {"conversation_id": ID, "sender_id": ID, "sender_device_id": 1, "message_id": ID}

    assert describe_event(Unreadable(**where, reason=reason, is_awaited=is_awaited), "@bo").endswith(end)


#: Every field that a notice can have.
FACTS: Mapping[str, Any] = {
    "userId": str(ID),
    "conversationId": str(ID),
    "callId": str(ID),
    "deviceId": 2,
    "deviceName": "tablet",
    "platform": "linux",
    "endsOn": "2026-12-24",
    "change": "reset",
    "attemptsRemaining": 4,
    "version": 3,
    "epoch": 5,
    "identityChanged": False,
    "oneTimeRemaining": 1,
    "pqRemaining": 1,
}
NOTICES = [get_args(kind.model_fields["name"].annotation)[0] for kind in get_args(NodeNotice)]


@pytest.mark.parametrize("name", NOTICES)
def test_every_notice_of_the_node_has_words(name: str) -> None:
    said = describe_event(Notice(notice=name, extra=FACTS), "@bo")

    assert name not in said
    assert said.endswith(".")


def test_an_invitation_says_where_to_look() -> None:
    assert "`vyry client groups invitations`" in describe_event(Notice(notice="groupInvited"), "")


@pytest.mark.parametrize("name", [*NOTICES, "notKnownYet"])
def test_a_notice_without_its_facts_is_named(name: str) -> None:
    said = describe_event(Notice(notice=name, extra={}), "@bo")

    assert said
