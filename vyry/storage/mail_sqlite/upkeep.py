"""MailUpkeep on SQLite: sweeper, metrics, message status."""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.clock import Clock
from vyry.kernel.ids import ConversationId, DeviceAddress, DeviceId, MailboxId, MailboxKey, MessageId, UserId
from vyry.kernel.time import from_milliseconds, to_milliseconds
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
from vyry.storage.mail_sqlite.post import load_outcomes
from vyry.storage.mail_sqlite.rows import (
    STATES_BY_NUMBER,
    RemovedEnvelope,
    json_list,
    mark_lost,
    unpack_numbers,
)
from vyry.storage.mail_sqlite.thread import SqliteThread
from vyry.storage.statements import load_statements


_SQL: Final = load_statements("mail_sqlite/upkeep.sql")
#: A fate is written after its message; the clocks of two processes may differ by so much.
_CLOCK_STEP_MILLISECONDS: Final = 3_600_000


class SqliteMailUpkeep:
    """MailUpkeep on SQLite."""

    def __init__(self, writer: SqliteThread, reader: SqliteThread, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    async def find_unnumbered(
        self, older_than: datetime, limit: int, *, among: Collection[MailboxKey] | None = None
    ) -> list[MailboxKey]:
        name = "select_unnumbered" if among is None else "select_unnumbered_of"
        chosen = () if among is None else (json_list(among),)
        arguments = (*chosen, to_milliseconds(older_than), limit)
        rows = await self._reader.run(lambda connection: connection.execute(_SQL[name], arguments).fetchall())
        return [MailboxKey(key) for (key,) in rows]

    async def expire(self, now: datetime, limit: int) -> int:
        return await self._writer.run(lambda connection: _expire(connection, to_milliseconds(now), limit))

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        return await self._writer.run(lambda connection: _retire(connection, to_milliseconds(before), limit))

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        now = to_milliseconds(self._clock.confirmed_now())
        return await self._reader.run(lambda connection: _fates(connection, (account, message_id), now))

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        return await self._reader.run(lambda connection: load_outcomes(connection, list(keys)))

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        row = await self._reader.run(
            lambda connection: connection.execute(_SQL["select_resume_info"], [mailbox]).fetchone()
        )
        return None if row is None else resume_info_from_row(row)

    async def drop(self, request: DropRequest, act: OperatorAction) -> DropResult:
        now = to_milliseconds(self._clock.confirmed_now())
        return await self._writer.run(lambda connection: _drop(connection, request, act, now))

    async def measure_backlog(self) -> tuple[int, float]:
        now = to_milliseconds(self._clock.now())
        return await self._reader.run(lambda connection: _depth(connection, now))


def _expire(connection: sqlite3.Connection, now: int, limit: int) -> int:
    late = [RemovedEnvelope(*row) for row in connection.execute(_SQL["select_expired"], [now, limit])]
    if late:
        mark_lost(connection, late, LossReason.EXPIRED, now)
    return len(late)


def _retire(connection: sqlite3.Connection, before: int, limit: int) -> int:
    messages = connection.execute(_SQL["delete_old_messages"], [before, limit]).rowcount
    return messages + connection.execute(_SQL["delete_old_fates"], [before, limit - messages]).rowcount


def _drop(connection: sqlite3.Connection, request: DropRequest, act: OperatorAction, now: int) -> DropResult:
    found = connection.execute(_SQL["select_range"], [request.mailbox, request.first, request.last, now])
    envelopes = [RemovedEnvelope(*row) for row in found]
    notices = sum(each.lane == Lane.NOTICE for each in envelopes)
    if notices and not request.includes_notices:
        return DropResult(0, notices)
    if envelopes:
        mark_lost(connection, envelopes, LossReason.OPERATOR, now)
        subject = None if act.subject is None else str(act.subject)
        # A moment is stored as Tortoise stores it.
        connection.execute(_SQL["insert_act"], [act.at.isoformat(" "), act.operator, act.action, subject, act.reason])
    return DropResult(len(envelopes))


def _fates(connection: sqlite3.Connection, message: tuple[UserId, MessageId], now: int) -> list[CopyStatus] | None:
    account, message_id = message
    messages = connection.execute(_SQL["select_messages"], [str(account), message_id.bytes]).fetchall()
    if not messages:
        return None
    copies = [
        (mailbox, number, accepted_at, said_in)
        for mailboxes, numbers, accepted_at, said_in in messages
        for mailbox, number in zip(unpack_numbers(mailboxes), unpack_numbers(numbers), strict=True)
    ]
    boxes = json_list([mailbox for mailbox, *_ in copies])
    addresses = {
        mailbox: DeviceAddress(UserId(UUID(user)), DeviceId(device))
        for mailbox, user, device in connection.execute(_SQL["select_addresses"], [boxes])
    }
    numbers = {number for _, number, *_ in copies}
    since = min(now, *(accepted_at for *_, accepted_at, _ in messages)) - _CLOCK_STEP_MILLISECONDS
    known = _stored_states(connection, numbers, now) | _recorded_states(connection, numbers, boxes, since)
    return [
        CopyStatus(
            addresses[mailbox],
            state,
            from_milliseconds(at or accepted_at),
            from_milliseconds(accepted_at),
            None if said_in is None else ConversationId(UUID(bytes=said_in)),
        )
        for mailbox, number, accepted_at, said_in in copies
        if mailbox in addresses
        # Neither an envelope nor a final state: the copy was skipped, or deleted with its mailbox.
        for state, at in [known.get(number, (CopyState.DROPPED, None))]
    ]


def _stored_states(
    connection: sqlite3.Connection, numbers: set[int], now: int
) -> dict[int, tuple[CopyState, int | None]]:
    return {
        number: (CopyState.ACCEPTED, None)
        if seq is None
        else (CopyState.EXPIRED, expires_at)
        if expires_at <= now
        else (CopyState.DEPOSITED, None)
        for number, seq, expires_at in connection.execute(_SQL["select_stored"], [json_list(numbers)])
    }


def _recorded_states(
    connection: sqlite3.Connection, numbers: set[int], boxes: str, since: int
) -> dict[int, tuple[CopyState, int | None]]:
    return {
        number: (STATES_BY_NUMBER[state], at)
        for state, at, packed in connection.execute(_SQL["select_fates"], [boxes, since])
        for number in numbers.intersection(unpack_numbers(packed))
    }


def _depth(connection: sqlite3.Connection, now: int) -> tuple[int, float]:
    (waiting,) = connection.execute(_SQL["count_waiting"]).fetchone()
    (oldest,) = connection.execute(_SQL["select_oldest"]).fetchone()
    return waiting, 0.0 if oldest is None else (now - oldest) / 1000


def resume_info_from_row(row: Sequence[Any]) -> ResumeInfo:
    """The resume info of a row of `select_resume_info`."""
    *state, last = row
    return ResumeInfo(state_from_row(state), None if last is None else MessageId(UUID(bytes=last)))


def state_from_row(row: Sequence[Any]) -> MailboxState:
    """The mailbox of a row of `select_states`."""
    key, mailbox_id, seq, head, acknowledged_seq, acknowledged_head, opened, is_ended = row
    return MailboxState(
        key,
        MailboxId(UUID(mailbox_id)),
        Cursor(seq, head),
        Cursor(acknowledged_seq, acknowledged_head),
        opened,
        bool(is_ended),
    )
