"""Why nothing reaches a device, or why something is late: conclusions from what the database and the node of the socket know. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import MailboxCaps
from vyry.operator.mailboxes import MailboxDetails
from vyry.operator.socket_lookup import Socket, SocketKnowledge
from vyry.redis.socket_query import SocketLocation


#: An envelope without a sequence number is normal for so long.
LATE_AFTER: Final = timedelta(seconds=1)
#: A client that has sent nothing for so long is silent: the node pings after 20 s and closes after 30 s.
SILENT_AFTER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a code for programs, and a line for people."""

    code: str
    text: str


def explain_mailbox(box: MailboxDetails, socket: Socket, now: datetime) -> Sequence[Reason]:
    """The reasons, the one that stops most first; at least one line."""
    if box.is_ended or box.device.ended_at is not None:
        return [Reason("deviceEnded", "The device has ended: its mail is deleted, and posts skip it.")]
    found = [*_account_reasons(box), *_deposit_reasons(box, now), *_socket_reasons(box, socket), *_content_reasons(box)]
    if found:
        return found
    if not has_entries(box):
        return [Reason("nothingWaits", "Nothing waits: the device has acknowledged everything.")]
    return [Reason("inDelivery", "Nothing stands in the way: the entries that wait are on their way to the device.")]


def has_entries(box: MailboxDetails) -> bool:
    """Whether an entry is not acknowledged, or an envelope has no sequence number yet."""
    return box.last_seq > box.acknowledged_seq or box.unnumbered is not None


def _account_reasons(box: MailboxDetails) -> Iterator[Reason]:
    if box.device.suspended_at is not None:
        yield Reason(
            "accountSuspended", "The account is suspended: its devices cannot connect. `vyry user resume` ends that."
        )
    if not box.device.has_keys:
        yield Reason("noKeys", "The device has not uploaded keys: no sender encrypts for it.")
    if box.is_clock_in_doubt:
        yield Reason(
            "clockInDoubt",
            "The clock of a node is in doubt: nothing expires meanwhile, so a lane may stay full. See `vyry clock show`.",
        )


def _deposit_reasons(box: MailboxDetails, now: datetime) -> Iterator[Reason]:
    if box.unnumbered is None:
        return
    age = now - box.unnumbered.oldest_at
    if age > LATE_AFTER:
        owner = "no worker has the partition" if box.partition_owner is None else f"its worker is {box.partition_owner}"
        where = "" if box.partition is None else f" Partition {box.partition}: {owner}."
        yield Reason(
            "waitingForDepositor",
            f"{box.unnumbered.entries} envelopes wait for a depositor, the oldest for {age.total_seconds():.0f} s: is a worker running?{where}",
        )


def _socket_reasons(box: MailboxDetails, socket: Socket) -> Iterator[Reason]:
    match socket.knowledge:
        case SocketKnowledge.NONE:
            yield Reason("noSocket", f"The device has no socket. {_push_text(box)}")
        case SocketKnowledge.UNAVAILABLE:
            yield Reason("socketUnknown", "Redis is down: it is not known whether the device has a socket.")
        case SocketKnowledge.NOT_SHARED if has_entries(box):
            yield Reason(
                "socketUnknown",
                f"A node without Redis keeps its sockets to itself: the device has none, or it does not acknowledge. {_push_text(box)}",
            )
        case _:
            yield from _open_socket_reasons(box, socket.location) if socket.location else ()


def _open_socket_reasons(box: MailboxDetails, location: SocketLocation) -> Iterator[Reason]:
    details = location.details
    if not location.has_answered:
        yield Reason(
            "nodeSilent",
            f"Node {location.node} does not answer. If it was killed, its sockets are listed for up to a minute more.",
        )
    elif details is None:
        yield Reason("noSocket", f"The socket on node {location.node} has just closed. {_push_text(box)}")
    elif details.is_window_full:
        yield Reason(
            "windowFull",
            f"The send window is full: {details.unacknowledged} entries up to {details.sent_seq} were sent, and the device acknowledged only up to {box.acknowledged_seq}.",
        )
    elif details.waiting_frames or details.unread_bytes:
        yield Reason(
            "clientReadsSlowly",
            f"The client does not read: {details.waiting_frames} frames and {details.unread_bytes} bytes wait in the node.",
        )
    elif details.seconds_since_heard > SILENT_AFTER_SECONDS:
        yield Reason(
            "clientSilent", f"The client has sent nothing for {details.seconds_since_heard:.0f} s, not even a pong."
        )
    elif details.unacknowledged and details.sent_seq >= box.last_seq > box.acknowledged_seq:
        yield Reason(
            "notAcknowledged",
            f"Everything was sent (up to {details.sent_seq}); the device has not acknowledged the last {details.unacknowledged} entries.",
        )


def _content_reasons(box: MailboxDetails) -> Iterator[Reason]:
    if parked := box.losses.get(LossReason.PARKED):
        yield Reason("parked", f"The device discarded {parked.entries} entries that it could not use: they are losses.")
    if dropped := box.losses.get(LossReason.OPERATOR):
        yield Reason("operator", f"An operator dropped {dropped.entries} entries: they are losses.")
    for lane in Lane:
        depth, cap = box.lanes[lane], MailboxCaps().for_lane(lane)
        if depth.entries >= cap.entries or depth.bytes >= cap.size:
            yield Reason("laneFull", f"The lane {lane.name.lower()} is full: new envelopes for it are refused.")
    if box.deferred_notices:
        yield Reason("noticesDeferred", f"{box.deferred_notices} notices wait until the lane for notices has capacity.")


def _push_text(box: MailboxDetails) -> str:
    push = box.push
    if push.kind is None:
        gone = push.report is not None and push.report.result == "gone"
        return (
            "The push service no longer knows it, so nothing wakes it."
            if gone
            else "It has no push target, so nothing wakes it."
        )
    if push.report is not None and push.report.result != "sent":
        return f"The last push over {push.kind} failed ({push.report.result}, status {push.report.status})."
    return f"It is woken over {push.kind}." if push.sent_at is None else f"It was woken over {push.kind}."
