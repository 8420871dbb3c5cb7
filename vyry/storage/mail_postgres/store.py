"""The mail store on PostgreSQL: one statement for a batch of any size, more only near a cap. The functions are in migrations/0001_postgres_mail_*.sql."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from vyry.clock import Clock
from vyry.errors import NotFound, StaleHead
from vyry.kernel.ids import MailboxKey
from vyry.mail.capacity import STRANGERS_OWNER, CapacityRequest, LaneCapacity, Usage
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import (
    Acknowledgement,
    CollectRequest,
    Cursor,
    Deposited,
    Entry,
    MailboxCaps,
    MailboxState,
    MailUpkeep,
    Message,
    Outdated,
    PostOutcome,
    Preconditions,
    ResumeInfo,
    ResumePoint,
    resume_refusal,
)
from vyry.storage.mail_batch import PostBatch, merge_outcomes
from vyry.storage.mail_postgres.connection import PINNED_PLANS, PostgresConnection
from vyry.storage.mail_postgres.upkeep import (
    PostgresMailUpkeep,
    load_outcomes,
    resume_info_from_row,
    state_from_row,
)
from vyry.storage.statements import load_statements


_SQL = load_statements("mail_postgres/store.sql")
_CONNECTION_NAMES = ("post", "deposit", "collect", "acknowledge", "mailbox")


@asynccontextmanager
async def open_postgres_mail(
    url: str, clock: Clock | None = None, caps: MailboxCaps | None = None
) -> AsyncIterator["PostgresMailStore"]:
    """Yields a store whose connections open on first use. Without a clock the clock of the server decides what has expired."""
    connections = {name: PostgresConnection(url, name, PINNED_PLANS) for name in _CONNECTION_NAMES}
    connections["sweep"] = PostgresConnection(url, "sweep", {"jit": "off"})
    try:
        yield PostgresMailStore(connections, clock, caps or MailboxCaps())
    finally:
        for connection in connections.values():
            await connection.close()


class PostgresMailStore:
    """MailStore on PostgreSQL 15 or later; each kind of statement has a connection of its own."""

    def __init__(self, connections: Mapping[str, PostgresConnection], clock: Clock | None, caps: MailboxCaps) -> None:
        self._connections = connections
        self._caps = caps
        self._clock = clock
        self.upkeep: MailUpkeep = PostgresMailUpkeep(connections["mailbox"], connections["sweep"], clock)

    def _confirmed_now(self) -> datetime | None:
        # Expired mail is lost for good, so a clock in doubt must not decide it.
        return self._clock.confirmed_now() if self._clock else None

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        batch = PostBatch(messages, readers)
        row = await self._post(batch, guards, self._caps)
        if row["tight"] and not (row["stale_users"] or row["stale_conversations"]):
            batch.drop_overflow(await self._load_capacities(batch.capacity_requests(row["tight"])), self._caps)
            row = await self._post(batch, guards, None)
        if row["stale_users"] or row["stale_conversations"]:
            return Outdated(frozenset(row["stale_users"] or ()), frozenset(row["stale_conversations"] or ()))
        fresh = row["fresh"] or [True] * len(batch.messages)
        others = [m for m, is_fresh in zip(batch.messages, fresh, strict=True) if not is_fresh] + batch.rejected
        before = await load_outcomes(self._connections["post"], [(m.sender, m.message_id) for m in others])
        return merge_outcomes(messages, batch.new_outcomes(row["numbers"] or [], fresh, _deposited(batch, row)), before)

    async def _post(self, batch: PostBatch, guards: Preconditions, caps: MailboxCaps | None) -> asyncpg.Record:
        users, conversations = guards.epochs, guards.versions
        (row,) = await self._connections["post"].fetch(
            _SQL["post"],
            list(users),
            list(users.values()),
            list(conversations),
            list(conversations.values()),
            # Copies without capacity were removed before.
            *(batch.largest_copies() if caps else ([], [])),
            # Notices are few, so all their mailboxes are checked.
            *(
                (*caps.for_lane(Lane.MAIL).small_part, *caps.for_lane(Lane.CONTROL).small_part)
                if caps and not batch.has_notice
                else (0, 0, 0, 0)
            ),
            *batch.columns(),
            *batch.near_columns(),
            *(bound for lane in Lane for bound in self._caps.for_lane(lane)),
            self._confirmed_now(),
        )
        return row

    async def _load_capacities(
        self, asked: Mapping[CapacityRequest, int]
    ) -> dict[CapacityRequest, LaneCapacity | None]:
        """The capacity for copies of at most so many bytes; None if the mailbox has ended."""
        requests = list(asked)
        quiet = [self._caps.for_lane(lane).small_part for lane in Lane]
        rows = await self._connections["post"].fetch(
            _SQL["select_capacities"],
            *(list(column) for column in zip(*requests, strict=True)),
            list(asked.values()),
            [part.entries for part in quiet],
            [part.size for part in quiet],
            STRANGERS_OWNER,
        )
        found: dict[CapacityRequest, LaneCapacity | None] = dict.fromkeys(requests)
        for row in rows:
            held = Usage(row["held_entries"], row["held_size"])
            found[requests[row["n"] - 1]] = LaneCapacity(Usage(row["entries"], row["size"]), row["share"], held)
        return found

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        caps = self._caps
        rows = await self._connections["deposit"].fetch(
            _SQL["deposit"],
            list(set(mailboxes)),
            *(bound for lane in Lane for bound in caps.for_lane(lane)),
            self._confirmed_now(),
        )
        return [
            Deposited(box, seq, head, number, LossReason(loss) if loss else None)
            for box, seq, head, number, loss in rows
        ]

    async def open_mailboxes(self, points: Sequence[ResumePoint]) -> list[ResumeInfo | StaleHead | NotFound]:
        columns = [list(column) for column in zip(*points, strict=True)]
        rows = await self._connections["mailbox"].fetch(_SQL["open_mailboxes"], *columns)
        opened = {info.state.mailbox: info for info in map(resume_info_from_row, rows)}
        refused = [point.mailbox for point in points if point.mailbox not in opened]
        states = {state.mailbox: state for state in await self.load_states(refused)} if refused else {}
        return [opened.get(mailbox) or resume_refusal(states.get(mailbox)) for mailbox, _, _ in points]

    async def record_sent(self, mailbox: MailboxKey, seq: int) -> None:
        await self._connections["mailbox"].fetch(_SQL["record_sent"], mailbox, seq)

    async def load_states(
        self, mailboxes: Collection[MailboxKey], *, sent: Mapping[MailboxKey, int] | None = None
    ) -> list[MailboxState]:
        connection = self._connections["mailbox"]
        if sent is None:
            rows = await connection.fetch(_SQL["select_states"], list(mailboxes))
        else:
            rows = await connection.fetch(
                _SQL["select_states_ahead"], list(mailboxes), [sent[mailbox] for mailbox in mailboxes]
            )
        return [state_from_row(row) for row in rows]

    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        columns = (
            [w.mailbox for w in wants],
            [w.after_seq for w in wants],
            [w.max_entries for w in wants],
            [w.max_bytes for w in wants],
        )
        rows = await self._connections["collect"].fetch(_SQL["collect"], *columns, self._confirmed_now())
        return [
            Entry(box, seq, head, number, LossReason(loss) if loss else None, None if loss else packed)
            for box, seq, head, number, loss, packed in rows
        ]

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        rows = await self._connections["acknowledge"].fetch(
            _SQL["acknowledge"],
            [p.mailbox for p in points],
            [p.seq for p in points],
            [p.head for p in points],
            [p.sent_seq for p in points],
            self._confirmed_now(),
        )
        cursors = {row["o_mailbox"]: Cursor(row["o_seq"], row["o_head"]) for row in rows}
        found = [(point, cursors.get(point.mailbox)) for point in points]
        return [cursor if cursor and point.seq <= cursor.seq else None for point, cursor in found]

    async def discard(self, mailbox: MailboxKey, seq: int) -> bool:
        rows = await self._connections["mailbox"].fetch(
            _SQL["discard"],
            mailbox,
            seq,
            self._confirmed_now(),
        )
        return bool(rows[0][0])


def _deposited(batch: PostBatch, row: asyncpg.Record) -> dict[int, Deposited]:
    """What mail_post deposited, by the number of the envelope."""
    if not row["seqs"]:
        return {}
    boxes = (copy.mailbox for message in batch.messages for copy in message.copies)
    columns = boxes, row["seqs"], row["heads"], row["numbers"], row["losses"]
    return {
        number: Deposited(box, seq, head, number, LossReason(loss) if loss else None)
        for box, seq, head, number, loss in zip(*columns, strict=True)
        if seq is not None
    }
