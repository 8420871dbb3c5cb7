"""`vyry mailbox explain` as lines and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from vyry.cli.account_lookup import pseudonym
from vyry.cli.push_text import push_json, push_lines
from vyry.kernel.time import format_moment
from vyry.operator.mailbox_reasons import Reason
from vyry.operator.mailboxes import MailboxDetails, WaitingEntries
from vyry.operator.socket_lookup import Socket, SocketKnowledge


_NO_SOCKET_TEXTS = {
    SocketKnowledge.NONE: "none",
    SocketKnowledge.UNAVAILABLE: "not known: Redis is down",
    SocketKnowledge.NOT_SHARED: "not known from here: a node without Redis keeps its sockets to itself",
}


def format_mailbox(
    box: MailboxDetails, socket: Socket, reasons: Sequence[Reason], *, now: datetime, with_ids: bool
) -> str:
    """The lines for people; the reasons come last, where a reader of the terminal looks first."""
    lines = [
        *_identity_lines(box, with_ids=with_ids),
        *_depth_lines(box, now),
        *_socket_lines(socket),
        *push_lines(box.push),
    ]
    return "\n".join([*(f"{name:<22} {text}" for name, text in lines), "", *(each.text for each in reasons)])


def mailbox_json(box: MailboxDetails, socket: Socket, reasons: Sequence[Reason], *, with_ids: bool) -> dict[str, Any]:
    """The same facts for programs."""
    location = socket.location
    return {
        "userId": _id(box.device.account_id, with_ids=with_ids),
        "deviceId": box.device.number,
        "mailboxId": _id(box.device.mailbox_id, with_ids=with_ids),
        "platform": box.device.platform,
        "lastSeenOn": box.device.last_seen_on,
        "hasEnded": box.is_ended,
        "lanes": {lane.name.lower(): asdict(depth) for lane, depth in box.lanes.items()},
        "lastSeq": box.last_seq,
        "acknowledgedSeq": box.acknowledged_seq,
        "numbered": _waiting_json(box.numbered),
        "unnumbered": _waiting_json(box.unnumbered),
        "losses": {reason.name.lower(): _waiting_json(entries) for reason, entries in box.losses.items()},
        "deferredNotices": box.deferred_notices,
        "lastAcknowledgedAt": _plain(box.last_acknowledged_at),
        "partition": box.partition,
        "worker": box.partition_owner,
        "socket": {
            "state": socket.knowledge.value,
            "node": location.node if location else None,
            "hasAnswered": location.has_answered if location else None,
            "details": asdict(location.details) if location and location.details else None,
        },
        "push": push_json(box.push),
        "reasons": [{"code": each.code, "text": each.text} for each in reasons],
    }


def _identity_lines(box: MailboxDetails, *, with_ids: bool) -> Iterator[tuple[str, str]]:
    device = box.device
    yield "account", _id(device.account_id, with_ids=with_ids)
    yield "device", f"{device.number}, {device.platform}, last seen {device.last_seen_on}"
    yield "mailbox", _id(device.mailbox_id, with_ids=with_ids)
    if box.partition is not None:
        yield "partition", f"{box.partition}, worker {box.partition_owner or 'none'}"


def _depth_lines(box: MailboxDetails, now: datetime) -> Iterator[tuple[str, str]]:
    for lane, depth in box.lanes.items():
        yield f"lane {lane.name.lower()}", f"{depth.entries} envelopes, {depth.bytes} bytes"
    yield "entries", f"last {box.last_seq}, acknowledged {box.acknowledged_seq}"
    for name, entries in (("with a number", box.numbered), ("without a number", box.unnumbered)):
        if entries is not None:
            yield name, f"{entries.entries}, the oldest for {_age(entries, now)}"
    for reason, entries in box.losses.items():
        yield f"losses ({reason.name.lower()})", f"{entries.entries}, {entries.first} to {entries.last}"
    if box.deferred_notices:
        yield "deferred notices", str(box.deferred_notices)
    moment = box.last_acknowledged_at
    yield "last acknowledgement", format_moment(moment) if moment else "none in the last 30 days"


def _socket_lines(socket: Socket) -> Iterator[tuple[str, str]]:
    location = socket.location
    if location is None:
        yield "socket", _NO_SOCKET_TEXTS[socket.knowledge]
        return
    yield "socket", f"on node {location.node}, connection {location.connection}"
    details = location.details
    if details is None:
        yield "", "the node has closed it" if location.has_answered else "the node does not answer"
        return
    delivered = details.seconds_since_delivery
    yield "last delivery", "none on this socket" if delivered is None else f"{delivered:.1f} s ago"
    yield (
        "send window",
        f"{details.unacknowledged} entries up to {details.sent_seq}{', full' if details.is_window_full else ''}",
    )
    yield "last heard", f"{details.seconds_since_heard:.1f} s ago"


def _age(entries: WaitingEntries, now: datetime) -> str:
    return f"{max(0.0, (now - entries.oldest_at).total_seconds()):.0f} s"


def _id(value: UUID, *, with_ids: bool) -> str:
    return str(value) if with_ids else pseudonym(value)


def _waiting_json(entries: WaitingEntries | None) -> dict[str, Any] | None:
    if entries is None:
        return None
    return {
        "entries": entries.entries,
        "oldestAt": _plain(entries.oldest_at),
        "firstSeq": entries.first,
        "lastSeq": entries.last,
    }


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value.value if isinstance(value, Enum) else value
