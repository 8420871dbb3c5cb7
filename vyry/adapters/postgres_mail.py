"""The mail store on PostgreSQL: one statement per station, whatever the batch holds. The functions are in migrations/_mail_postgres.py."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import asyncpg

from vyry.adapters.mail_batch import Batch, outcomes
from vyry.adapters.postgres_connection import PINNED_PLANS, PostgresLine
from vyry.clock import Clock
from vyry.errors import NotFound
from vyry.ids import DeviceAddress, DeviceId, MailboxId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import Loss, first_head
from vyry.mail.store import (
    Caps,
    CopyFate,
    CopyState,
    Cursor,
    Deposited,
    Entry,
    Guards,
    MailboxState,
    Message,
    Outdated,
    Point,
    Stored,
    Want,
)


#: How many pages of the envelope table one call of `expire` looks at: the sweep goes round the table without an index of its own.
EXPIRE_PAGES = 2_000
#: The states of table fate.
FATES: Final = {1: CopyState.ACKNOWLEDGED, 2: CopyState.EXPIRED, 3: CopyState.DROPPED}
_UNCAPPED: Final = Caps(2**31 - 1, 2**62, 2**31 - 1, 2**62)
_ROOM = "SELECT m.id, m.is_ended, m.mail_entries, m.mail_bytes, m.control_entries, m.control_bytes FROM unnest($1::bigint[]) k(id) JOIN mailbox m ON m.id = k.id"
_POST = "SELECT * FROM mail_post($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26,$27,$28)"
_KNOWN = """
SELECT k.n, m.fingerprint, m.accepted_at, m.mailboxes, m.numbers
FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY k(sender, id, n) JOIN message m ON m.sender = k.sender AND m.message_id = k.id"""
_STATE = "id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended"
_COLLECT = """
SELECT e.mailbox, e.seq, e.head, e.id, CASE WHEN e.loss IS NULL AND e.expires_at <= coalesce($5, clock_timestamp()) THEN 1 ELSE e.loss END AS loss,
  (SELECT c.packed FROM content c WHERE c.id = e.content AND e.loss IS NULL) AS packed
FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY k(mailbox, after, entries, size, n)
CROSS JOIN LATERAL (
  SELECT y.* FROM (
    SELECT x.mailbox, x.seq, x.head, x.id, x.loss, x.content, x.expires_at, x.size, sum(CASE WHEN x.loss IS NULL THEN x.size ELSE 0 END) OVER (ORDER BY x.seq) AS total,
      row_number() OVER (ORDER BY x.seq) AS place
    FROM envelope x WHERE x.mailbox = k.mailbox AND x.seq > k.after ORDER BY x.seq LIMIT k.entries
  ) y WHERE y.total <= k.size OR y.place = 1
) e"""
_HEAD_AT = """
SELECT CASE WHEN m.acknowledged_seq = $2 THEN m.acknowledged_head ELSE (SELECT e.head FROM envelope e WHERE e.mailbox = m.id AND e.seq = $2) END AS head
FROM mailbox m WHERE m.id = $1"""
_UNNUMBERED = """
SELECT DISTINCT mailbox FROM (SELECT mailbox FROM envelope WHERE seq IS NULL AND accepted_at < $1 ORDER BY accepted_at LIMIT $2) x"""
_EXPIRED = """
SELECT mailbox, seq FROM envelope
WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND loss IS NULL AND seq IS NOT NULL AND expires_at <= $3 LIMIT $4"""
_RETIRE = (
    "DELETE FROM message WHERE ctid = ANY(ARRAY(SELECT ctid FROM message WHERE accepted_at < $1 LIMIT $2)) RETURNING 1",
    "DELETE FROM fate WHERE ctid = ANY(ARRAY(SELECT ctid FROM fate WHERE at < $1 LIMIT $2)) RETURNING 1",
)
_FATES = """
SELECT d.account_id, d.device_id, m.accepted_at, c.number, e.seq, e.loss, e.expires_at, f.state, f.at,
  e.id IS NOT NULL AS is_here, d.ended_at
FROM device s JOIN message m ON m.sender = s.mailbox AND m.message_id = $2
CROSS JOIN LATERAL unnest(m.mailboxes, m.numbers) WITH ORDINALITY c(mailbox, number, n)
JOIN device d ON d.mailbox = c.mailbox
LEFT JOIN LATERAL (SELECT x.id, x.seq, x.loss, x.expires_at FROM envelope x WHERE x.mailbox = c.mailbox AND x.id = c.number) e ON true
LEFT JOIN LATERAL (SELECT y.state, y.at FROM fate y WHERE y.mailbox = c.mailbox AND y.at >= m.accepted_at - interval '1 hour' AND c.number = ANY(y.numbers)
  ORDER BY y.at LIMIT 1) f ON true
WHERE s.account_id = $1 ORDER BY c.n"""
_DEPTH = """
SELECT greatest(0, (SELECT reltuples FROM pg_class WHERE oid = 'envelope'::regclass))::bigint AS waiting,
  coalesce(extract(epoch FROM coalesce($1, clock_timestamp()) - (SELECT min(accepted_at) FROM envelope WHERE seq IS NULL)), 0)::float8 AS age"""


@asynccontextmanager
async def open_postgres_mail(
    url: str, clock: Clock | None = None, caps: Caps | None = None
) -> AsyncIterator["PostgresMailStore"]:
    """A store whose connections open when first used, and close with the context. Without a clock the server's own decides what has expired."""
    store = PostgresMailStore(url, clock, caps or Caps())
    try:
        yield store
    finally:
        await store.close()


class PostgresMailStore:
    """The truth, on PostgreSQL 15 or later."""

    def __init__(self, url: str, clock: Clock | None, caps: Caps) -> None:
        self._caps = caps
        self._clock = clock
        self._lines = {
            name: PostgresLine(url, name, PINNED_PLANS)
            for name in ("post", "deposit", "collect", "acknowledge", "mailbox")
        }
        self._sweep = PostgresLine(url, "sweep", {"jit": "off"})
        self.upkeep = PostgresMailUpkeep(self._lines["mailbox"], self._sweep, clock)

    async def close(self) -> None:
        """Give all connections back."""
        for line in (*self._lines.values(), self._sweep):
            await line.close()

    def _moment(self) -> datetime | None:
        return self._clock.now() if self._clock else None

    async def post(self, messages: Sequence[Message], guards: Guards) -> list[Stored] | Outdated:
        """See MailStore.post."""
        batch = Batch(messages)
        row = await self._post(batch, guards, self._caps)
        if row["tight"] and not (row["stale_users"] or row["stale_conversations"]):
            room = await self._lines["post"].fetch(_ROOM, row["tight"])
            batch.strike(dict.fromkeys(row["tight"]) | {box: _room(self._caps, counts) for box, *counts in room})
            row = await self._post(batch, guards, _UNCAPPED)
        if row["stale_users"] or row["stale_conversations"]:
            return Outdated(frozenset(row["stale_users"] or ()), frozenset(row["stale_conversations"] or ()))
        fresh = row["fresh"] or [True] * len(batch.messages)
        known = await self._known(
            [m for m, is_fresh in zip(batch.messages, fresh, strict=True) if not is_fresh] + batch.withheld
        )
        return outcomes(messages, batch.fresh(row["numbers"] or [], fresh), known)

    async def _post(self, batch: Batch, guards: Guards, caps: Caps) -> asyncpg.Record:
        users, conversations = guards.epochs, guards.versions
        (row,) = await self._lines["post"].fetch(
            _POST,
            list(users),
            list(users.values()),
            list(conversations),
            list(conversations.values()),
            *batch.targets(),
            *(caps.mail_entries, caps.mail_bytes, caps.control_entries, caps.control_bytes),
            *batch.columns(),
        )
        return row

    async def _known(self, messages: Sequence[Message]) -> dict[tuple[MailboxKey, MessageId], Stored]:
        if not messages:
            return {}
        senders, ids = [m.sender for m in messages], [m.message_id for m in messages]
        rows = await self._lines["post"].fetch(_KNOWN, senders, ids)
        return {
            (messages[row["n"] - 1].sender, messages[row["n"] - 1].message_id): Stored(
                row["fingerprint"],
                row["accepted_at"],
                row["mailboxes"],
                [number or None for number in row["numbers"]],
                is_repeat=True,
            )
            for row in rows
        }

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        """See MailStore.deposit."""
        caps = self._caps
        rows = await self._lines["deposit"].fetch(
            "SELECT * FROM mail_deposit($1, $2, $3, $4, $5, $6)",
            list(set(mailboxes)),
            *(caps.mail_entries, caps.mail_bytes, caps.control_entries, caps.control_bytes),
            self._moment(),
        )
        return [
            Deposited(box, seq, head, number, Loss(loss) if loss else None) for box, seq, head, number, loss in rows
        ]

    async def open_mailbox(self, mailbox: MailboxKey) -> MailboxState:
        """See MailStore.open_mailbox."""
        rows = await self._lines["mailbox"].fetch(
            f"UPDATE mailbox SET connection = connection + 1 WHERE id = $1 AND NOT is_ended RETURNING {_STATE}",
            mailbox,
        )
        if not rows:
            raise NotFound
        return _state(rows[0])

    async def states(self, mailboxes: Collection[MailboxKey]) -> list[MailboxState]:
        """See MailStore.states."""
        sql = f"SELECT {_STATE} FROM unnest($1::bigint[]) k(box) JOIN mailbox m ON m.id = k.box"
        return [_state(row) for row in await self._lines["mailbox"].fetch(sql, list(mailboxes))]

    async def head_at(self, mailbox: MailboxKey, seq: int) -> bytes | None:
        """See MailStore.head_at."""
        if seq == 0:
            states = await self.states([mailbox])
            return first_head(states[0].mailbox_id) if states else None
        rows = await self._lines["mailbox"].fetch(_HEAD_AT, mailbox, seq)
        return rows[0]["head"] if rows else None

    async def collect(self, wants: Sequence[Want]) -> list[Entry]:
        """See MailStore.collect."""
        columns = (
            [w.mailbox for w in wants],
            [w.after for w in wants],
            [w.entries for w in wants],
            [w.size for w in wants],
        )
        rows = await self._lines["collect"].fetch(_COLLECT, *columns, self._moment())
        return [
            Entry(box, seq, head, number, Loss(loss) if loss else None, None if loss else packed)
            for box, seq, head, number, loss, packed in rows
        ]

    async def acknowledge(self, points: Sequence[Point]) -> list[Cursor | None]:
        """See MailStore.acknowledge."""
        rows = await self._lines["acknowledge"].fetch(
            "SELECT * FROM mail_acknowledge($1, $2, $3, $4)",
            [p.mailbox for p in points],
            [p.seq for p in points],
            [p.head for p in points],
            self._moment(),
        )
        cursors = {row["o_mailbox"]: Cursor(row["o_seq"], row["o_head"]) for row in rows}
        found = [(point, cursors.get(point.mailbox)) for point in points]
        return [cursor if cursor and point.seq <= cursor.seq else None for point, cursor in found]

    async def park(self, mailbox: MailboxKey, seq: int) -> bool:
        """See MailStore.park."""
        rows = await self._lines["mailbox"].fetch(
            "SELECT mail_lose(ARRAY[$1::bigint], ARRAY[$2::bigint], 4::smallint, $3) > 0 OR EXISTS (SELECT 1 FROM envelope WHERE mailbox = $1 AND seq = $2)",
            mailbox,
            seq,
            self._moment(),
        )
        return bool(rows[0][0])


class PostgresMailUpkeep:
    """The rest of the store: the sweeper's, the metrics' and a curious sender's questions."""

    def __init__(self, mailbox: PostgresLine, sweep: PostgresLine, clock: Clock | None) -> None:
        self._mailbox = mailbox
        self._sweep = sweep
        self._clock = clock
        self._page = 0

    async def unnumbered(self, older_than: datetime, limit: int) -> list[MailboxKey]:
        """See MailUpkeep.unnumbered."""
        rows = await self._mailbox.fetch(_UNNUMBERED, older_than, limit)
        return [row["mailbox"] for row in rows]

    async def expire(self, now: datetime, limit: int) -> int:
        """See MailUpkeep.expire."""
        (size,) = (await self._sweep.fetch("SELECT pg_relation_size('envelope') / current_setting('block_size')::int"))[
            0
        ]
        first = self._page if self._page < size else 0
        self._page = first + EXPIRE_PAGES
        rows = await self._sweep.fetch(_EXPIRED, f"({first},0)", f"({self._page},0)", now, limit)
        if len(rows) == limit:
            self._page = first
        if not rows:
            return 0
        rows = await self._sweep.fetch(
            "SELECT mail_lose($1, $2, 1::smallint, $3)", [r["mailbox"] for r in rows], [r["seq"] for r in rows], now
        )
        return int(rows[0][0])

    async def retire(self, before: datetime, limit: int) -> int:
        """See MailUpkeep.retire."""
        return sum([len(await self._sweep.fetch(sql, before, limit)) for sql in _RETIRE])

    async def fates(self, account: UserId, message_id: MessageId) -> list[CopyFate] | None:
        """See MailUpkeep.fates."""
        rows = await self._sweep.fetch(_FATES, account, message_id)
        return [_fate(row) for row in rows] or None

    async def depth(self) -> tuple[int, float]:
        """See MailUpkeep.depth."""
        (row,) = await self._mailbox.fetch(_DEPTH, self._clock and self._clock.now())
        return row["waiting"], row["age"]


def _room(caps: Caps, counts: Sequence[int]) -> Caps | None:
    """What still fits, lane by lane; None for a mailbox that has ended."""
    is_ended, mail_entries, mail_bytes, control_entries, control_bytes = counts
    if is_ended:
        return None
    return Caps(
        caps.mail_entries - mail_entries,
        caps.mail_bytes - mail_bytes,
        caps.control_entries - control_entries,
        caps.control_bytes - control_bytes,
    )


def _state(row: asyncpg.Record) -> MailboxState:
    return MailboxState(
        row["id"],
        MailboxId(row["mailbox_id"]),
        Cursor(row["seq"], row["head"]),
        Cursor(row["acknowledged_seq"], row["acknowledged_head"]),
        row["connection"],
        row["is_ended"],
    )


def _fate(row: asyncpg.Record) -> CopyFate:
    state, at = _state_of_copy(row)
    return CopyFate(DeviceAddress(UserId(row["account_id"]), DeviceId(row["device_id"])), state, at)


def _state_of_copy(row: asyncpg.Record) -> tuple[CopyState, datetime]:
    if row["state"]:
        return FATES[row["state"]], row["at"]
    if row["number"] == 0 or not row["is_here"]:
        return CopyState.DROPPED, row["ended_at"] or row["accepted_at"]
    return (CopyState.ACCEPTED if row["seq"] is None else CopyState.DEPOSITED), row["accepted_at"]
