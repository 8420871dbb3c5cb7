"""The mail store on a SQLite file: one writer thread runs all waiting jobs in one transaction, one reader thread reads beside it.

A result is returned only after the commit, which is on the disk (synchronous=FULL), so the reader sees everything that callers know.
"""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from vyry.clock import Clock
from vyry.errors import NotFound, StaleHead
from vyry.kernel.ids import MailboxKey
from vyry.kernel.time import to_milliseconds
from vyry.mail.envelope import LossReason
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
from vyry.storage.mail_sqlite.deposit import acknowledge, deposit
from vyry.storage.mail_sqlite.post import PostRequest, post
from vyry.storage.mail_sqlite.rows import RemovedEnvelope, json_list, mark_lost
from vyry.storage.mail_sqlite.thread import SqliteThread, open_thread
from vyry.storage.mail_sqlite.upkeep import (
    SqliteMailUpkeep,
    resume_info_from_row,
    state_from_row,
)
from vyry.storage.statements import load_statements


_SQL: Final = load_statements("mail_sqlite/store.sql")
_DEFAULT_CAPS: Final = MailboxCaps()


@asynccontextmanager
async def open_sqlite_mail(
    path: Path, clock: Clock, caps: MailboxCaps = _DEFAULT_CAPS
) -> AsyncIterator["SqliteMailStore"]:
    """Yields the store of this migrated file. Several processes may open the file."""
    async with open_thread(path, "BEGIN IMMEDIATE") as writer, open_thread(path, "BEGIN") as reader:
        yield SqliteMailStore(writer, reader, clock, caps)


class SqliteMailStore:
    """MailStore on SQLite."""

    def __init__(self, writer: SqliteThread, reader: SqliteThread, clock: Clock, caps: MailboxCaps) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._caps = caps
        self.upkeep: MailUpkeep = SqliteMailUpkeep(writer, reader, clock)

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        # The writer thread does not read what the event loop changes.
        near = {copy.mailbox for message in messages for copy in message.copies if copy.mailbox in readers}
        request = PostRequest(messages, guards, near, self._now())
        return await self._writer.run(lambda connection: post(connection, request, self._caps))

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        now = self._now()
        return await self._writer.run(lambda connection: deposit(connection, mailboxes, self._caps, now))

    async def open_mailboxes(self, points: Sequence[ResumePoint]) -> list[ResumeInfo | StaleHead | NotFound]:
        return await self._writer.run(lambda connection: [_open_mailbox(connection, point) for point in points])

    async def record_sent(self, mailbox: MailboxKey, seq: int) -> None:
        await self._writer.run(lambda connection: connection.execute(_SQL["record_sent"], [seq, mailbox, seq]))

    async def load_states(
        self, mailboxes: Collection[MailboxKey], *, sent: Mapping[MailboxKey, int] | None = None
    ) -> list[MailboxState]:
        rows = await self._reader.run(
            lambda connection: connection.execute(_SQL["select_states"], [json_list(mailboxes)]).fetchall()
        )
        return [state for state in map(state_from_row, rows) if sent is None or state.last.seq > sent[state.mailbox]]

    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        now = self._now()
        return await self._reader.run(
            lambda connection: [entry for want in wants for entry in _collect(connection, want, now)]
        )

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        now = self._now()
        return await self._writer.run(lambda connection: acknowledge(connection, points, now))

    async def discard(self, mailbox: MailboxKey, seq: int) -> bool:
        now = self._now()
        return await self._writer.run(lambda connection: _discard(connection, mailbox, seq, now))

    def _now(self) -> int:
        # Expired mail is lost for good, so a clock in doubt must not decide it.
        return to_milliseconds(self._clock.confirmed_now())


def _open_mailbox(connection: sqlite3.Connection, point: ResumePoint) -> ResumeInfo | StaleHead | NotFound:
    row = connection.execute(_SQL["open_mailbox"], point._asdict()).fetchone()
    if row is not None:
        return resume_info_from_row(row)
    states = connection.execute(_SQL["select_states"], [json_list([point.mailbox])])
    return resume_refusal(next(map(state_from_row, states), None))


def _collect(connection: sqlite3.Connection, want: CollectRequest, now: int) -> Iterator[Entry]:
    """Rows are fetched one by one, so a content beyond the window is never read."""
    total = 0
    rows = connection.execute(_SQL["select_entries"], [want.mailbox, want.after_seq, want.max_entries])
    for position, (seq, head, number, loss, expires_at, size, packed) in enumerate(rows):
        lost = LossReason(loss) if loss else LossReason.EXPIRED if expires_at <= now else None
        total += 0 if lost else size
        if position and total > want.max_bytes:
            return
        yield Entry(want.mailbox, seq, head, number, lost, None if lost else packed)


def _discard(connection: sqlite3.Connection, mailbox: MailboxKey, seq: int, now: int) -> bool:
    row = connection.execute(_SQL["select_entry"], [mailbox, seq]).fetchone()
    if row is None:
        return False
    *columns, loss = row
    if loss is None:
        mark_lost(connection, [RemovedEnvelope(*columns)], LossReason.PARKED, now)
    return True
