"""MailUpkeep on PostgreSQL (sweeper, metrics, message status), and the outcomes of earlier posts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from vyry.accounts.events import OperatorAction
from vyry.clock import Clock
from vyry.kernel.ids import ConversationId, DeviceAddress, DeviceId, MailboxId, MailboxKey, MessageId, UserId
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
from vyry.storage.statements import load_statements


#: How many pages of the envelope table one call of `expire` reads: the sweep reads the whole table in rounds, without an index.
EXPIRE_PAGES = 2_000
#: The states of table fate.
COPY_STATES: Final = {1: CopyState.ACKNOWLEDGED, 2: CopyState.EXPIRED, 3: CopyState.DROPPED}
_SQL: Final = load_statements("mail_postgres/upkeep.sql")
#: Limits the query of a long backlog to the oldest envelopes, so many for each mailbox.
_BACKLOG = 100


class PostgresMailUpkeep:
    """MailUpkeep on PostgreSQL."""

    def __init__(self, mailbox: PostgresConnection, sweep: PostgresConnection, clock: Clock | None) -> None:
        self._mailbox = mailbox
        self._sweep = sweep
        self._clock = clock
        self._page = 0

    async def find_unnumbered(
        self, older_than: datetime, limit: int, *, among: Collection[MailboxKey] | None = None
    ) -> list[MailboxKey]:
        if among is None:
            rows = await self._mailbox.fetch(_SQL["select_unnumbered"], older_than, limit, limit * _BACKLOG)
        else:
            rows = await self._mailbox.fetch(_SQL["select_unnumbered_of"], list(among), older_than, limit)
        return [row["mailbox"] for row in rows]

    async def expire(self, now: datetime, limit: int) -> int:
        (size,) = await self._sweep.fetch(_SQL["count_pages"])
        first = self._page if self._page < size["pages"] else 0
        self._page = first + EXPIRE_PAGES
        rows = await self._sweep.fetch(_SQL["select_expired"], f"({first},0)", f"({self._page},0)", now, limit)
        if len(rows) == limit:
            self._page = first
        if not rows:
            return 0
        rows = await self._sweep.fetch(_SQL["expire"], [r["mailbox"] for r in rows], [r["seq"] for r in rows], now)
        return int(rows[0][0])

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        gone = 0
        for name in ("delete_old_messages", "delete_old_fates"):
            gone += len(await self._sweep.fetch(_SQL[name], before, limit - gone))
        return gone

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        rows = await self._sweep.fetch(
            _SQL["select_fates"], account, message_id, self._clock and self._clock.confirmed_now()
        )
        return [_fate_from_row(row) for row in rows if row["account_id"]] if rows else None

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        return await load_outcomes(self._mailbox, list(keys))

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        rows = await self._mailbox.fetch(_SQL["select_resume_info"], mailbox)
        return resume_info_from_row(rows[0]) if rows else None

    async def drop(self, request: DropRequest, act: OperatorAction) -> DropResult:
        line = act.at, act.operator, act.action, act.subject, act.reason
        (row,) = await self._sweep.fetch(
            _SQL["drop_entries"], *request, self._clock and self._clock.confirmed_now(), *line
        )
        return DropResult(row["dropped"], row["refused"])

    async def measure_backlog(self) -> tuple[int, float]:
        (row,) = await self._mailbox.fetch(_SQL["measure_backlog"], self._clock and self._clock.now())
        return row["waiting"], row["age"]


async def load_outcomes(
    connection: PostgresConnection, keys: Sequence[tuple[MailboxKey, MessageId]]
) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
    """The stored outcomes of the messages that were accepted before."""
    if not keys:
        return {}
    rows = await connection.fetch(
        _SQL["select_outcomes"], [sender for sender, _ in keys], [message_id for _, message_id in keys]
    )
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
    """The resume info of a row of `select_resume_info`."""
    last = row["last_message"]
    return ResumeInfo(state_from_row(row), None if last is None else MessageId(last))


def state_from_row(row: asyncpg.Record) -> MailboxState:
    """The mailbox of a row of `select_states`."""
    return MailboxState(
        row["id"],
        MailboxId(row["mailbox_id"]),
        Cursor(row["seq"], row["head"]),
        Cursor(row["acknowledged_seq"], row["acknowledged_head"]),
        row["connection"],
        row["is_ended"],
    )
