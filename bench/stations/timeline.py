"""The way of single envelopes, put together from the marks of all processes and of the load."""

import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple


class Hop(NamedTuple):
    """From the station before to `station`; what the envelope does meanwhile."""

    station: str
    doing: str
    kind: str


COMMIT: Final = "commit"
QUEUE: Final = "queue"
PYTHON: Final = "Python"
DATABASE: Final = "database"
KERNEL: Final = "kernel"
BROKER: Final = "Kafka, Faust, Redis"
KINDS: Final = (COMMIT, QUEUE, PYTHON, DATABASE, KERNEL, BROKER)

_POSTED: Final = (
    Hop("queued", "sent by the client, frame read and parsed", PYTHON),
    Hop("statement", "waits for the post before it, checked, packed", QUEUE),
    Hop("committed", "post: statement and commit", DATABASE),
)
_WRITTEN: Final = (
    Hop("flushed", "entries frame made", PYTHON),
    Hop("delivered", "written to the socket, read by the client", PYTHON),
)
NEAR: Final = (
    *_POSTED,
    Hop("deposit begins", "answered; waits for the deposit before it", QUEUE),
    Hop("deposited", "deposit: statement and commit", DATABASE),
    *_WRITTEN,
)
FAR: Final = (
    *_POSTED,
    Hop("added", "answered, routed", PYTHON),
    Hop("sent", "waits for the tick of the work records", QUEUE),
    Hop("fetched", "producer, broker, consumer thread, Faust's stream", BROKER),
    Hop("deposit begins", "waits for the deposit before it", QUEUE),
    Hop("deposited", "deposit: statement and commit", DATABASE),
    Hop("notified", "waits for the Redis call before it", QUEUE),
    Hop("hinted", "Redis", BROKER),
    Hop("collect begins", "waits for the collect before it", QUEUE),
    Hop("collected", "collect: statement", DATABASE),
    *_WRITTEN,
)
CHAINS: Final = {"embedded": NEAR, "near": NEAR, "far": FAR}


@dataclass(slots=True)
class Marks:
    """All marks, by station and key in the order of time."""

    found: dict[str, dict[Any, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    #: By message: when it was committed, its mailbox and its envelope number.
    committed: dict[str, tuple[float, int, int]] = field(default_factory=dict)

    def add(self, marks: Iterable[Sequence[Any]]) -> None:
        """Those of one process."""
        for station, moment, key in marks:
            if station == "committed":
                message_id, mailbox, number = key
                self.committed[message_id] = (moment, mailbox, number)
            else:
                self.found[station][key].append(moment)

    def sort(self) -> None:
        """After the last process."""
        for by_key in self.found.values():
            for moments in by_key.values():
                moments.sort()

    def next(self, station: str, keys: Iterable[Any], since: float) -> float | None:
        """The first mark of one of these keys at the station, not before `since`."""
        for key in keys:
            moments = self.found[station].get(key, [])
            at = bisect_left(moments, since)
            if at < len(moments):
                return moments[at]
        return None


def way_of(message_id: str, posted: float, chain: Sequence[Hop], marks: Marks) -> list[float] | None:
    """Seconds of each hop; None when a mark is missing. A station that an earlier envelope of the mailbox opened for this one took no time."""
    if message_id not in marks.committed:
        return None
    committed, mailbox, number = marks.committed[message_id]
    moments = [posted]
    for hop in chain:
        found = (
            committed
            if hop.station == "committed"
            else marks.next(hop.station, (message_id, number, mailbox), moments[-1])
        )
        if hop.station in {"deposit begins", "deposited", "collect begins", "collected", "delivered"}:
            found = marks.next(hop.station, (message_id, number), 0.0)
        if found is None:
            return None
        moments.append(found)
    for at in range(len(moments) - 2, -1, -1):
        moments[at] = min(moments[at], moments[at + 1])
    return [end - start for start, end in pairwise(moments)]


def mean_hops(ways: Sequence[Sequence[float]]) -> list[float]:
    """Milliseconds of each hop: means, because they add up to the mean latency."""
    return [statistics.fmean(hop) * 1000 for hop in zip(*ways, strict=True)]


def split(
    hops: Sequence[float], chain: Sequence[Hop], commit_share: Mapping[str, float], system_share: float
) -> dict[str, float]:
    """The mean latency by kind. A share of each statement waits for the disk, and a share of the node's own work is the kernel's."""
    found = dict.fromkeys(KINDS, 0.0)
    for hop, took in zip(chain, hops, strict=True):
        if hop.kind == DATABASE:
            waits = commit_share.get(hop.station, 0.0) * took
            found[COMMIT] += waits
            found[DATABASE] += took - waits
        elif hop.kind == PYTHON:
            found[KERNEL] += system_share * took
            found[PYTHON] += (1 - system_share) * took
        else:
            found[hop.kind] += took
    return found
