"""Each stop in the way of mail has a reason of its own; where nothing stands in the way, that is said too."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.fake_clock import NOON
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.routing import SocketDetails
from vyry.mail.store import MailboxCaps
from vyry.operator.mailbox_reasons import explain_mailbox
from vyry.operator.mailboxes import DeviceRecord, LaneDepth, MailboxDetails, WaitingEntries
from vyry.operator.push_details import PushDetails, PushReport
from vyry.operator.socket_lookup import Socket, SocketKnowledge
from vyry.redis.socket_query import SocketLocation


ID = UUID(int=1)
DEVICE = DeviceRecord(
    ID,
    ID,
    1,
    MailboxKey(7),
    ID,
    "linux",
    has_keys=True,
    linked_at=NOON,
    last_seen_on="",
    ended_at=None,
    suspended_at=None,
)
EMPTY = LaneDepth(0, 0)
BOX = MailboxDetails(
    device=DEVICE,
    lanes=dict.fromkeys(Lane, EMPTY),
    last_seq=9,
    acknowledged_seq=4,
    returned_seq=0,
    hellos=1,
    is_ended=False,
    last_acknowledged_at=None,
    deferred_notices=0,
    partition=3,
    partition_owner=None,
    push=PushDetails(kind="fcm"),
    is_clock_in_doubt=False,
)
DETAILS = SocketDetails(
    connection=2,
    sent_seq=6,
    unacknowledged=2,
    is_window_full=False,
    waiting_frames=0,
    unread_bytes=0,
    seconds_since_delivery=1.0,
    seconds_since_heard=1.0,
)
NO_SOCKET = Socket(SocketKnowledge.NONE)
CAP = MailboxCaps().for_lane(Lane.MAIL)


def some(count: int = 3, seconds: float = 5.0) -> WaitingEntries:
    return WaitingEntries(count, NOON - timedelta(seconds=seconds), 5, 7)


def found(*, has_answered: bool = True, **details: Any) -> Socket:
    """A socket on a node that says this of it."""
    said = replace(DETAILS, **details) if has_answered else None
    return Socket(SocketKnowledge.FOUND, SocketLocation("00ff", 2, has_answered, said))


def codes(box: MailboxDetails, socket: Socket) -> list[str]:
    return [each.code for each in explain_mailbox(box, socket, NOON)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"is_ended": True}, "deviceEnded"),
        ({"device": replace(DEVICE, ended_at=NOON)}, "deviceEnded"),
        ({"device": replace(DEVICE, suspended_at=NOON)}, "accountSuspended"),
        ({"device": replace(DEVICE, has_keys=False)}, "noKeys"),
        ({"is_clock_in_doubt": True}, "clockInDoubt"),
        ({"unnumbered": some()}, "waitingForDepositor"),
        ({"losses": {LossReason.PARKED: some()}}, "parked"),
        ({"losses": {LossReason.OPERATOR: some()}}, "operator"),
        ({"lanes": {**BOX.lanes, Lane.MAIL: LaneDepth(CAP.entries, 1)}}, "laneFull"),
        ({"lanes": {**BOX.lanes, Lane.MAIL: LaneDepth(1, CAP.size)}}, "laneFull"),
        ({"deferred_notices": 2}, "noticesDeferred"),
        ({"last_seq": 4}, "nothingWaits"),
        ({}, "inDelivery"),
        ({"unnumbered": some(seconds=0.5)}, "inDelivery"),
    ],
)
def test_what_the_database_knows_is_named(changes: dict[str, Any], code: str) -> None:
    assert codes(replace(BOX, **changes), found()) == [code]


@pytest.mark.parametrize(
    ("socket", "code"),
    [
        (NO_SOCKET, "noSocket"),
        (Socket(SocketKnowledge.UNAVAILABLE), "socketUnknown"),
        (Socket(SocketKnowledge.NOT_SHARED), "socketUnknown"),
        (found(has_answered=False), "nodeSilent"),
        (Socket(SocketKnowledge.FOUND, SocketLocation("00ff", 2, has_answered=True, details=None)), "noSocket"),
        (found(is_window_full=True), "windowFull"),
        (found(waiting_frames=3), "clientReadsSlowly"),
        (found(unread_bytes=3), "clientReadsSlowly"),
        (found(seconds_since_heard=40.0), "clientSilent"),
        (found(sent_seq=9), "notAcknowledged"),
    ],
)
def test_what_the_node_of_the_socket_knows_is_named(socket: Socket, code: str) -> None:
    assert codes(BOX, socket) == [code]


def test_an_empty_mailbox_without_shared_sockets_is_just_empty() -> None:
    assert codes(replace(BOX, last_seq=4), Socket(SocketKnowledge.NOT_SHARED)) == ["nothingWaits"]


def test_the_worker_of_waiting_envelopes_is_named() -> None:
    texts = [
        explain_mailbox(replace(BOX, unnumbered=some(), **changes), found(), NOON)[0].text
        for changes in ({}, {"partition_owner": "w1"}, {"partition": None})
    ]

    assert [text.partition("running?")[2] for text in texts] == [
        " Partition 3: no worker has the partition.",
        " Partition 3: its worker is w1.",
        "",
    ]


@pytest.mark.parametrize(
    ("push", "text"),
    [
        (PushDetails(kind=None), "It has no push target"),
        (PushDetails(kind=None, report=PushReport("fcm", "gone", 404, NOON)), "no longer knows it"),
        (PushDetails(kind="fcm", report=PushReport("fcm", "later", 503, NOON)), "failed (later, status 503)"),
        (PushDetails(kind="fcm"), "It is woken over fcm."),
        (PushDetails(kind="fcm", sent_at=NOON), "It was woken over fcm."),
    ],
)
def test_a_device_without_a_socket_says_how_it_is_woken(push: PushDetails, text: str) -> None:
    assert text in explain_mailbox(replace(BOX, push=push), NO_SOCKET, NOON)[0].text
