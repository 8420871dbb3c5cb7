"""Judges a run by its history alone: what devices did and what they saw. Server logs never decide.

The invariants are those of the fault model: L1 no loss, L2 nothing from nowhere, L3 one number one envelope, L4 contiguous, L5 no visible
duplicate, L6 sender order, L7 a post reaches all its devices or none, L9 an acknowledgement is final, L11 a repeated post gives the same answer.
(The chained heads are checked by each device as entries come.) Times are monotonic seconds of the one process that drives all devices.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from tests.support.chain_checker import Entry, to_bytes


class Outcome(Enum):
    """How a post ended for its sender."""

    OK = "ok"
    REFUSED = "refused"
    #: No answer, or one that decides nothing: it may have been accepted.
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a post; a retry under the same message id is another attempt."""

    sender: str
    message_id: str
    body: str
    target_devices: frozenset[str]
    started_at: float
    ended_at: float
    outcome: Outcome
    #: What the node answered (acceptedAt, copies), when it accepted.
    answer: tuple[str, int] | None = None
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStart:
    """A connection of a device began, after entry `after`."""

    device: str
    connection: int
    after: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One entry that came over a connection; a tombstone has no envelope, a notice by the node no message."""

    device: str
    connection: int
    seq: int
    through: int
    at: float
    envelope_id: str | None = None
    message_id: str | None = None
    sender: str | None = None
    body: str | None = None


def read_delivery(device: str, connection: int, entry: Entry, now: float) -> Delivery:
    """The entry as the checker counts it; its content is bytes, or base64 in a JSON frame."""
    is_mail = "content" in entry
    return Delivery(
        device=device,
        connection=connection,
        seq=entry["seq"],
        through=int(entry.get("throughSeq") or entry["seq"]),
        at=now,
        envelope_id=entry.get("envelopeId"),
        message_id=entry["messageId"] if is_mail else None,
        sender=f"{entry['senderId']}.{entry['senderDeviceId']}" if is_mail else None,
        body=sha256(to_bytes(entry["content"])).hexdigest() if is_mail else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The node answered that everything up to `seq` is acknowledged."""

    device: str
    connection: int
    seq: int
    at: float


@dataclass(slots=True)
class History:
    """All that happened, each list in the order of its times."""

    attempts: list[Attempt] = field(default_factory=list)
    connections: list[ConnectionStart] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)


def check(history: History) -> list[str]:
    """Every violation found, each with the name of its invariant first; an empty list is a pass."""
    laws = (
        _no_loss,
        _no_invention,
        _unique_numbers,
        _contiguous,
        _shown_once,
        _sender_order,
        _fan_out,
        _final,
        _repeats,
    )
    return [violation for law in laws for violation in law(history)]


def _delivered(history: History) -> dict[tuple[str, str], int]:
    """(device, message) -> the number it came under."""
    return {(entry.device, entry.message_id): entry.seq for entry in history.deliveries if entry.message_id}


def _no_loss(history: History) -> Iterator[str]:
    delivered = _delivered(history)
    excused: dict[str, int] = defaultdict(int)
    for device, seq, through in {
        (entry.device, entry.seq, entry.through) for entry in history.deliveries if entry.envelope_id is None
    }:
        excused[device] += through - seq + 1
    for attempt in {
        attempt.message_id: attempt for attempt in history.attempts if attempt.outcome is Outcome.OK
    }.values():
        for device in attempt.target_devices:
            if (device, attempt.message_id) not in delivered:
                excused[device] -= 1
                if excused[device] < 0:
                    yield f"L1 {attempt.message_id} of {attempt.sender} was accepted and never reached {device}"


def _no_invention(history: History) -> Iterator[str]:
    possible = {
        (device, attempt.sender, attempt.message_id, attempt.body)
        for attempt in history.attempts
        if attempt.outcome is not Outcome.REFUSED
        for device in attempt.target_devices
    }
    for entry in history.deliveries:
        if entry.message_id and (entry.device, entry.sender, entry.message_id, entry.body) not in possible:
            yield f"L2 {entry.device} got {entry.message_id} at {entry.seq}, which nobody posted so with any hope"


def _unique_numbers(history: History) -> Iterator[str]:
    at: dict[tuple[str, int], str | None] = {}
    seq_of: dict[tuple[str, str], int] = {}
    for entry in history.deliveries:
        if at.setdefault((entry.device, entry.seq), entry.envelope_id) != entry.envelope_id:
            yield f"L3 {entry.device} was shown two envelopes as number {entry.seq}"
        if entry.envelope_id and seq_of.setdefault((entry.device, entry.envelope_id), entry.seq) != entry.seq:
            yield f"L3 {entry.device} was shown envelope {entry.envelope_id} under two numbers"


def _contiguous(history: History) -> Iterator[str]:
    last = {connection.connection: connection.after for connection in history.connections}
    for entry in history.deliveries:
        if entry.seq != last[entry.connection] + 1:
            yield f"L4 {entry.device} got {entry.seq} after {last[entry.connection]} on one connection"
        last[entry.connection] = entry.through


def _shown_once(history: History) -> Iterator[str]:
    last: dict[str, int] = defaultdict(int)
    shown: set[tuple[str, str | None, str]] = set()
    for entry in history.deliveries:
        if entry.seq <= last[entry.device]:
            continue
        last[entry.device] = entry.through
        if entry.message_id:
            once = (entry.device, entry.sender, entry.message_id)
            if once in shown:
                yield f"L5 {entry.device} shows {entry.message_id} twice"
            shown.add(once)


def _sender_order(history: History) -> Iterator[str]:
    delivered = _delivered(history)
    done: dict[str, Attempt] = {}
    begun: dict[str, float] = {}
    for attempt in history.attempts:
        begun[attempt.message_id] = min(attempt.started_at, begun.get(attempt.message_id, attempt.started_at))
        if attempt.outcome is Outcome.OK:
            done.setdefault(attempt.message_id, attempt)
    by_way: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in done.values():
        for device in attempt.target_devices:
            by_way[attempt.sender, device].append(attempt)
    for (_, device), attempts in by_way.items():
        yield from _pair_in_order(device, attempts, begun, delivered)


def _pair_in_order(
    device: str, attempts: list[Attempt], begun: dict[str, float], delivered: dict[tuple[str, str], int]
) -> Iterator[str]:
    ended = sorted(attempts, key=lambda attempt: attempt.ended_at)
    highest, position = 0, 0
    for attempt in sorted(attempts, key=lambda attempt: begun[attempt.message_id]):
        while position < len(ended) and ended[position].ended_at < begun[attempt.message_id]:
            highest = max(highest, delivered.get((device, ended[position].message_id), 0))
            position += 1
        if delivered.get((device, attempt.message_id), highest + 1) < highest:
            yield f"L6 {attempt.message_id} of {attempt.sender} overtook an earlier one on its way to {device}"


def _fan_out(history: History) -> Iterator[str]:
    delivered = _delivered(history)
    for attempt in {attempt.message_id: attempt for attempt in history.attempts}.values():
        reached = {device for device in attempt.target_devices if (device, attempt.message_id) in delivered}
        if reached and reached != attempt.target_devices:
            yield f"L7 {attempt.message_id} reached only {sorted(reached)}"


def _final(history: History) -> Iterator[str]:
    began = {connection.connection: connection.at for connection in history.connections}
    final: dict[str, list[Acknowledgement]] = defaultdict(list)
    for acknowledged in history.acknowledgements:
        final[acknowledged.device].append(acknowledged)
    for entry in history.deliveries:
        for acknowledged in final[entry.device]:
            is_later = entry.connection == acknowledged.connection or began[entry.connection] > acknowledged.at
            if entry.seq <= acknowledged.seq and entry.at > acknowledged.at and is_later:
                yield f"L9 {entry.device} got {entry.seq} again after {acknowledged.seq} was acknowledged"
                break


def _repeats(history: History) -> Iterator[str]:
    accepted: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK:
            accepted[attempt.sender, attempt.message_id].append(attempt)
    for (_, message_id), attempts in accepted.items():
        if len({(attempt.answer, attempt.body) for attempt in attempts}) > 1:
            yield f"L11 {message_id} was answered in two ways"
        if sum(not attempt.is_repeat for attempt in attempts) > 1:
            yield f"L11 {message_id} was accepted as new twice"
