"""How late each envelope of `scripts.move_loop` was: from the commit of its post, as PostgreSQL itself recorded it, to its delivery to a connected device.

The moment of its deposit, and which process deposited it, come from a trigger in the database of the run: each process has a database role of its own.
Delivery before the deposit's commit was visible cannot be; so the two parts name the station in which a late envelope waited.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from scripts.move_load import Records
from scripts.services import Postgres, ServiceFailed
from tests.support.history_checker import Outcome


#: No envelope may reach a connected device later than this after its commit.
BOUND_SECONDS: Final = 1.0
QUIET: Final = "quiet"
_SHOWN_LATE: Final = 20
#: Table and trigger are of the run only; one statement for each deposit, whatever its size.
_OBSERVE: Final = """
CREATE TABLE move_deposit (number bigint, at timestamptz, by_role text);
CREATE FUNCTION move_observe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO move_deposit SELECT id, clock_timestamp(), current_user FROM numbered WHERE seq IS NOT NULL;
  RETURN NULL;
END $$;
CREATE TRIGGER move_observe AFTER UPDATE ON envelope REFERENCING NEW TABLE AS numbered FOR EACH STATEMENT EXECUTE FUNCTION move_observe();
"""
_STATIONS: Final = """
SELECT m.message_id::text AS id, extract(epoch FROM pg_xact_commit_timestamp(m.xmin))::float8 AS committed,
  extract(epoch FROM d.at)::float8 AS deposited, d.by_role
FROM message m CROSS JOIN LATERAL unnest(m.numbers) n(number)
LEFT JOIN (SELECT DISTINCT ON (number) number, at, by_role FROM move_deposit ORDER BY number, at) d ON d.number = n.number
WHERE n.number <> 0
"""


class ObservedPostgres(Postgres):
    """PostgreSQL that records when each transaction committed, with a superuser for each process of the run."""

    options = {**Postgres.options, "track_commit_timestamp": "on"}  # noqa: RUF012 - a ClassVar of the base class

    def url_of(self, role: str) -> str:
        """The address of the database for this role."""
        return f"postgres://{role}@127.0.0.1:{self.port}/postgres"

    async def observe(self, roles: Sequence[str]) -> None:
        """Make the roles, and record every deposit from now on."""
        connection = await asyncpg.connect(self.url)
        try:
            for role in roles:
                await connection.execute(f'CREATE ROLE "{role}" SUPERUSER LOGIN')
            await connection.execute(_OBSERVE)
        finally:
            await connection.close()

    async def stations(self) -> dict[str, "Stations"]:
        """By message id: when its post committed, when it was deposited and by which role."""
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch(_STATIONS)
        finally:
            await connection.close()
        if any(row["committed"] is None for row in rows):
            raise ServiceFailed("PostgreSQL has no commit time of a message: was its row written again?")
        return {row["id"]: Stations(row["committed"], row["deposited"], row["by_role"] or "nobody") for row in rows}


@dataclass(frozen=True, slots=True)
class Stations:
    """When an envelope was where, as the database recorded it."""

    committed: float
    deposited: float | None
    by_role: str


@dataclass(frozen=True, slots=True)
class Lateness:
    """One delivered envelope."""

    kind: str
    seconds: float
    #: The part of `seconds` before its deposit.
    deposit_seconds: float
    by_role: str
    #: Seconds from the begin of its event to its commit, or to its delivery if it committed before the event.
    offset: float
    #: How long the load itself stood still meanwhile: that is the lateness of the device, not of the node.
    pause_seconds: float

    @property
    def is_late(self) -> bool:
        """Whether the node broke the bound."""
        return self.seconds - self.pause_seconds > BOUND_SECONDS

    def __str__(self) -> str:
        later = self.seconds - self.deposit_seconds
        return (
            f"{self.seconds:.2f} s during {self.kind} ({self.offset:.1f} s after its begin): {self.deposit_seconds:.2f} s until its deposit "
            f"by {self.by_role}, {later:.2f} s from there to the device; the load stood still for {self.pause_seconds:.2f} s"
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when: from each moment on, until the next, an event of that kind."""

    starts: Sequence[tuple[float, str]]

    def at(self, moment: float) -> tuple[str, float]:
        """The kind of event at that moment, and the seconds since its begin."""
        place = bisect_right(self.starts, (moment, "\U0010ffff")) - 1
        started, kind = self.starts[max(place, 0)]
        return kind, moment - started

    def during(self, begin: float, end: float) -> tuple[str, float]:
        """The kind of event at the begin; of an envelope that was under way when the quiet ended, the event that ended it."""
        kind, offset = self.at(begin)
        return self.at(end) if kind == QUIET else (kind, offset)


def measure(records: Records, stations: Mapping[str, Stations], timeline: Timeline) -> Iterator[Lateness]:
    """The lateness of each envelope at its first delivery. A device that was away at the commit counts from its return."""
    accepted = {each.message_id for each in records.history.attempts if each.outcome is Outcome.OK}
    seen: set[str] = set()
    pauses = _Pauses(records.pauses)
    for entry in records.history.deliveries:
        number = entry.message_id
        if number is None or number in seen or number not in accepted:
            continue
        seen.add(number)
        found = stations[number]
        begin = max(found.committed, _connected_since(records.sockets[entry.device], entry.at))
        seconds = max(0.0, entry.at - begin)
        until_deposit = max(0.0, (found.deposited or entry.at) - begin)
        kind, offset = timeline.during(found.committed, entry.at)
        paused = pauses.between(begin, entry.at) if seconds > BOUND_SECONDS else 0.0
        yield Lateness(kind, seconds, min(seconds, until_deposit), found.by_role, offset, paused)


def _connected_since(sockets: Sequence[tuple[float, float]], moment: float) -> float:
    place = bisect_right(sockets, (moment, float("inf"))) - 1
    return sockets[place][0] if place >= 0 else moment


class _Pauses:
    def __init__(self, pauses: Sequence[tuple[float, float]]) -> None:
        self._pauses = pauses
        self._ends = [end for end, _ in pauses]

    def between(self, begin: float, end: float) -> float:
        """How much of this time was a pause."""
        some = self._pauses[bisect_right(self._ends, begin) :]
        total = 0.0
        for ended, seconds in some:
            if ended - seconds > end:
                break
            total += min(ended, end) - max(ended - seconds, begin)
        return total


def table(lateness: Sequence[Lateness], events: Mapping[str, int]) -> Iterator[str]:
    """The worst and the 99th percentile for each kind of event, as a Markdown table."""
    by_kind: dict[str, list[Lateness]] = defaultdict(list)
    for each in lateness:
        by_kind[each.kind].append(each)
    yield "| event | times | envelopes | median | p99 | worst | of it until the deposit | later than 1 s |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind, some in sorted(by_kind.items(), key=lambda item: (item[0] != QUIET, item[0])):
        some.sort(key=lambda each: each.seconds)
        middle, p99, worst = (some[int((len(some) - 1) * share)] for share in (0.5, 0.99, 1))
        late = sum(each.is_late for each in some)
        seconds = (middle.seconds, p99.seconds, worst.seconds, worst.deposit_seconds)
        cells = (kind, events.get(kind, 0), f"{len(some):,}", *(f"{each:.2f} s" for each in seconds), late)
        yield "| " + " | ".join(map(str, cells)) + " |"


def late_lines(lateness: Sequence[Lateness]) -> Iterator[str]:
    """The latest of each kind of event that were later than the bound."""
    late: dict[str, list[Lateness]] = defaultdict(list)
    for each in lateness:
        if each.is_late:
            late[each.kind].append(each)
    for some in late.values():
        some.sort(key=lambda each: -each.seconds)
        yield from (f"late: {each}" for each in some[:_SHOWN_LATE])
