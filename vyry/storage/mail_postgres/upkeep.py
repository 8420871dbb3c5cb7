"""MailUpkeep on PostgreSQL (sweeper, metrics, message status), and the outcomes of earlier posts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from vyry.accounts.events import OperatorAction
from vyry.clock import Clock
from vyry.kernel.ids import ConversationId, DeviceAddress, DeviceId, MailboxId, MailboxKey, MessageId, UserId
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import (
    CopyState,
    CopyStatus,
    Cursor,
    DropRequest,
    DropResult,
    MailboxState,
    PostOutcome,
    ResumeInfo,
)
from vyry.storage.mail_postgres.connection import PostgresConnection


#: How many pages of the envelope table one call of `expire` reads: the sweep reads the whole table in rounds, without an index.
EXPIRE_PAGES = 2_000
#: The states of table fate.
COPY_STATES: Final = {1: CopyState.ACKNOWLEDGED, 2: CopyState.EXPIRED, 3: CopyState.DROPPED}
STATE_COLUMNS: Final = "id, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, connection, is_ended"
#: One index lookup; only inserts write to the index, so posts and hellos update no row for it.
LAST_MESSAGE: Final = "(SELECT p.message_id FROM message p WHERE p.sender = mailbox.id AND p.ordinal IS NOT NULL ORDER BY p.ordinal DESC LIMIT 1) AS last_message"
_LOAD_MAILBOX: Final = f"SELECT {STATE_COLUMNS}, {LAST_MESSAGE} FROM mailbox WHERE id = $1"
_OUTCOMES = """
SELECT k.n, m.fingerprint, m.accepted_at, m.mailboxes, m.numbers
FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY k(sender, id, n) JOIN message m ON m.sender = k.sender AND m.message_id = k.id"""
#: Limits the query of a long backlog to the oldest envelopes, so many for each mailbox.
_BACKLOG = 100
_UNNUMBERED = """
SELECT mailbox FROM (SELECT mailbox, accepted_at FROM envelope WHERE seq IS NULL AND accepted_at < $1 ORDER BY accepted_at LIMIT $3) x
GROUP BY mailbox ORDER BY min(accepted_at) LIMIT $2"""
_EXPIRED = """
SELECT mailbox, seq FROM envelope
WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND loss IS NULL AND seq IS NOT NULL AND expires_at <= $3 LIMIT $4"""
_RETIRE = (
    "DELETE FROM message WHERE ctid = ANY(ARRAY(SELECT ctid FROM message WHERE accepted_at < $1 LIMIT $2)) RETURNING 1",
    "DELETE FROM fate WHERE ctid = ANY(ARRAY(SELECT ctid FROM fate WHERE at < $1 LIMIT $2)) RETURNING 1",
)
_FATES = """
SELECT d.account_id, d.device_id, m.accepted_at, c.number, e.seq, e.loss, e.expires_at, f.state, f.at,
  e.id IS NOT NULL AS is_here, d.ended_at, m.conversation_id, e.seq IS NOT NULL AND e.expires_at <= coalesce($3, clock_timestamp()) AS is_late
FROM device s JOIN message m ON m.sender = s.mailbox AND m.message_id = $2
LEFT JOIN LATERAL unnest(m.mailboxes, m.numbers) WITH ORDINALITY c(mailbox, number, n) ON true
LEFT JOIN device d ON d.mailbox = c.mailbox
LEFT JOIN LATERAL (SELECT x.id, x.seq, x.loss, x.expires_at FROM envelope x WHERE x.mailbox = c.mailbox AND x.id = c.number) e ON true
LEFT JOIN LATERAL (SELECT y.state, y.at FROM fate y WHERE y.mailbox = c.mailbox AND y.at >= least(m.accepted_at, $3) - interval '1 hour' AND c.number = ANY(y.numbers)
  ORDER BY y.at LIMIT 1) f ON true
WHERE s.account_id = $1 ORDER BY c.n"""
#: Entries of a mailbox keep their lane and expiry, so what is read before mail_lose takes the lock of the mailbox stays true; it ignores rows that are gone.
_DROP = f"""
WITH inside AS MATERIALIZED (
  SELECT e.mailbox, e.seq, e.lane FROM envelope e
  WHERE e.mailbox = $1 AND e.seq BETWEEN $2 AND $3 AND e.loss IS NULL AND e.expires_at > coalesce($5, clock_timestamp())
), refused AS (SELECT count(*) AS n FROM inside WHERE lane = {int(Lane.NOTICE)} AND NOT $4
), lost AS MATERIALIZED (
  SELECT CASE WHEN (SELECT n FROM refused) > 0 THEN 0
    ELSE mail_lose(ARRAY(SELECT mailbox FROM inside ORDER BY seq), ARRAY(SELECT seq FROM inside ORDER BY seq), {int(LossReason.OPERATOR)}::smallint, $5) END AS n
), logged AS (
  INSERT INTO operator_act (at, operator, act, subject, reason)
    SELECT $6::timestamptz, left($7::text, 100), $8::text, $9::uuid, left($10::text, 500) FROM lost WHERE n > 0
)
SELECT lost.n AS dropped, refused.n AS refused FROM lost, refused"""
#: The number of entries is the planner's estimate of the rows of the table: it includes tombstones and undeposited envelopes, and is 0 before the first ANALYZE.
_DEPTH = """
SELECT greatest(0, (SELECT reltuples FROM pg_class WHERE oid = 'envelope'::regclass))::bigint AS waiting,
  coalesce(extract(epoch FROM coalesce($1, clock_timestamp()) - (SELECT min(accepted_at) FROM envelope WHERE seq IS NULL)), 0)::float8 AS age"""


class PostgresMailUpkeep:
    """MailUpkeep on PostgreSQL."""

    def __init__(self, mailbox: PostgresConnection, sweep: PostgresConnection, clock: Clock | None) -> None:
        self._mailbox = mailbox
        self._sweep = sweep
        self._clock = clock
        self._page = 0

    async def find_unnumbered(self, older_than: datetime, limit: int) -> list[MailboxKey]:
        rows = await self._mailbox.fetch(_UNNUMBERED, older_than, limit, limit * _BACKLOG)
        return [row["mailbox"] for row in rows]

    async def expire(self, now: datetime, limit: int) -> int:
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

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        gone = 0
        for sql in _RETIRE:
            gone += len(await self._sweep.fetch(sql, before, limit - gone))
        return gone

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        rows = await self._sweep.fetch(_FATES, account, message_id, self._clock and self._clock.confirmed_now())
        return [_fate_from_row(row) for row in rows if row["account_id"]] if rows else None

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        return await load_outcomes(self._mailbox, list(keys))

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        rows = await self._mailbox.fetch(_LOAD_MAILBOX, mailbox)
        return resume_info_from_row(rows[0]) if rows else None

    async def drop(self, request: DropRequest, act: OperatorAction) -> DropResult:
        line = act.at, act.operator, act.action, act.subject, act.reason
        (row,) = await self._sweep.fetch(_DROP, *request, self._clock and self._clock.confirmed_now(), *line)
        return DropResult(row["dropped"], row["refused"])

    async def measure_backlog(self) -> tuple[int, float]:
        (row,) = await self._mailbox.fetch(_DEPTH, self._clock and self._clock.now())
        return row["waiting"], row["age"]


async def load_outcomes(
    connection: PostgresConnection, keys: Sequence[tuple[MailboxKey, MessageId]]
) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
    """The stored outcomes of the messages that were accepted before."""
    if not keys:
        return {}
    rows = await connection.fetch(_OUTCOMES, [sender for sender, _ in keys], [message_id for _, message_id in keys])
    return {
        keys[row["n"] - 1]: PostOutcome(
            row["fingerprint"],
            row["accepted_at"],
            row["mailboxes"],
            [number or None for number in row["numbers"]],
            is_repeat=True,
        )
        for row in rows
    }


def _fate_from_row(row: asyncpg.Record) -> CopyStatus:
    state, at = _state_of_copy(row)
    address = DeviceAddress(UserId(row["account_id"]), DeviceId(row["device_id"]))
    said_in = row["conversation_id"]
    return CopyStatus(address, state, at, row["accepted_at"], None if said_in is None else ConversationId(said_in))


def _state_of_copy(row: asyncpg.Record) -> tuple[CopyState, datetime]:
    if row["state"]:
        return COPY_STATES[row["state"]], row["at"]
    if row["number"] == 0 or not row["is_here"]:
        return CopyState.DROPPED, row["ended_at"] or row["accepted_at"]
    if row["is_late"]:
        return CopyState.EXPIRED, row["expires_at"]
    return (CopyState.ACCEPTED if row["seq"] is None else CopyState.DEPOSITED), row["accepted_at"]


def resume_info_from_row(row: asyncpg.Record) -> ResumeInfo:
    """The resume info of a row with STATE_COLUMNS and LAST_MESSAGE."""
    last = row["last_message"]
    return ResumeInfo(state_from_row(row), None if last is None else MessageId(last))


def state_from_row(row: asyncpg.Record) -> MailboxState:
    """The mailbox of a row with STATE_COLUMNS."""
    return MailboxState(
        row["id"],
        MailboxId(row["mailbox_id"]),
        Cursor(row["seq"], row["head"]),
        Cursor(row["acknowledged_seq"], row["acknowledged_head"]),
        row["connection"],
        row["is_ended"],
    )
