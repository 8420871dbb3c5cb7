"""All that the database holds about an account, read page by page: what GET /account/export says (archive_tables.py has the list)."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.models import Model

from vyry.accounts.account import Caller
from vyry.accounts.events import AccountEvent
from vyry.accounts.export import Page
from vyry.errors import NotFound
from vyry.kernel.ids import MailboxKey, MessageId, UserId
from vyry.kernel.time import from_milliseconds
from vyry.mail.receipts import Receipt, Receipts
from vyry.mail.store import CollectRequest, CopyStatus, MailStore
from vyry.storage.account_events import record_event
from vyry.storage.account_export_tables import EXPORT_TABLES, ExportTable
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import (
    DeviceRow,
    MailboxRow,
)
from vyry.storage.raw_sql import fetch
from vyry.storage.receipts import TortoiseReceipts


_ROWS: Final = 200
_BYTES: Final = 1 << 20
_EVERYTHING_AFTER: Final = UUID(int=0)

_MESSAGES: Final = """
    SELECT message_id, accepted_at FROM message WHERE sender = $1 AND message_id > $2 ORDER BY message_id LIMIT $3"""
#: How much mail of a mailbox came to which end, moment by moment.
_RECEIPTS: Final = {
    "postgres": """
    SELECT at, sum(CASE WHEN state = 1 THEN cardinality(numbers) ELSE 0 END) AS acknowledged,
        sum(CASE WHEN state = 2 THEN cardinality(numbers) ELSE 0 END) AS expired,
        sum(CASE WHEN state = 3 THEN cardinality(numbers) ELSE 0 END) AS dropped
    FROM fate WHERE mailbox = $1 AND at > $2 GROUP BY at ORDER BY at LIMIT $3""",
    "sqlite": """
    SELECT at, sum(CASE WHEN state = 1 THEN length(numbers) / 8 ELSE 0 END) AS acknowledged,
        sum(CASE WHEN state = 2 THEN length(numbers) / 8 ELSE 0 END) AS expired,
        sum(CASE WHEN state = 3 THEN length(numbers) / 8 ELSE 0 END) AS dropped
    FROM fate WHERE mailbox = $1 AND at > $2 GROUP BY at ORDER BY at LIMIT $3""",
}


@dataclass(frozen=True, slots=True)
class _ExportScope:
    """What an account's rows are found by. `mailbox_ids` names each mailbox and each device by the id that its owner knows."""

    user_id: UserId
    numbers: Sequence[str]
    mailboxes: Sequence[MailboxKey]
    devices: Sequence[UUID]
    mailbox_ids: Mapping[object, UUID]


class TortoiseExportSource:
    """Archive on PostgreSQL or SQLite."""

    def __init__(self, mail: MailStore) -> None:
        self._mail = mail
        self._receipts = Receipts(mail.upkeep, TortoiseReceipts())

    async def record_export(self, caller: Caller, now: datetime) -> None:
        async with transaction() as tx:
            await record_event(tx, AccountEvent(caller.user_id, "exported", now, caller.device_id))

    async def pages(self, user_id: UserId, numbers: Collection[str]) -> AsyncIterator[Page]:
        async with database_guard():
            devices = await DeviceRow.filter(account_id=user_id).order_by("mailbox")
        boxes = [MailboxKey(device.mailbox) for device in devices]
        named = {key: each.mailbox_id for each in devices for key in (each.mailbox, each.id)}
        whose = _ExportScope(user_id, list(numbers), boxes, [device.id for device in devices], named)
        for table in EXPORT_TABLES:
            async for page in _table_pages(table, whose):
                yield page
        for parts in (
            _conversation_pages(whose),
            self._mail_pages(whose),
            self._post_pages(whose),
            _receipt_pages(whose),
        ):
            async for page in parts:
                yield page

    async def _mail_pages(self, whose: _ExportScope) -> AsyncIterator[Page]:
        """What waits in the mailboxes, as their devices would collect it."""
        yield Page("mail", [])
        await self._mail.deposit(whose.mailboxes)
        for state in await self._mail.load_states(whose.mailboxes):
            after = state.acknowledged.seq
            while after < state.last.seq:
                entries = await self._mail.collect([CollectRequest(state.mailbox, after, _ROWS, _BYTES)])
                if not entries:
                    break
                after = entries[-1].seq
                yield Page("mail", [{"mailbox_id": state.mailbox_id, "entry": entry} for entry in entries])

    async def _post_pages(self, whose: _ExportScope) -> AsyncIterator[Page]:
        """What the account posted in the last 30 days, and what became of each copy."""
        yield Page("posts", [])
        for mailbox in whose.mailboxes:
            async for message_id, at in _sent_messages(mailbox):
                named = {"mailbox_id": whose.mailbox_ids[mailbox], "message_id": message_id, "accepted_at": at}
                # Its time may end just now. No more is told of others than at any other time.
                with suppress(NotFound):
                    copies = [
                        _outcome_fields(each) for each in await self._receipts.list_receipts(whose.user_id, message_id)
                    ]
                    yield Page("posts", [{**named, "copies": copies}])


def _outcome_fields(copy: CopyStatus | Receipt) -> dict[str, object]:
    if isinstance(copy, Receipt):
        return {"user_id": copy.user_id, "state": copy.state.value, "at": copy.at}
    return {**asdict(copy.address), "state": copy.state.value, "at": copy.since}


async def _table_pages(table: ExportTable, whose: _ExportScope) -> AsyncIterator[Page]:
    """The rows of one table, by rising key."""
    key = table.model._meta.pk_attr  # noqa: SLF001 - Tortoise has no other door
    owners: Mapping[str, Sequence[object]] = {
        "account_id": [whose.user_id],
        "to_id": [whose.user_id],
        "phone_hash": whose.numbers,
        "mailbox": whose.mailboxes,
        "device": whose.devices,
        "id": whose.mailboxes if table.model is MailboxRow else [whose.user_id],
    }
    mine = table.model.filter(**{f"{table.owner}__in": owners[table.owner]}).order_by(key)
    after: object = None
    while True:
        async with database_guard():
            rows = await (mine if after is None else mine.filter(**{f"{key}__gt": after})).limit(_ROWS)
        if rows or after is None:
            yield Page(table.section, [_row(table, row, whose) for row in rows])
        if len(rows) < _ROWS:
            return
        after = getattr(rows[-1], key)


def _row(table: ExportTable, row: Model, whose: _ExportScope) -> dict[str, object]:
    told = {table.export_names.get(name, name): getattr(row, name) for name in table.columns}
    named = whose.mailbox_ids.get(getattr(row, table.owner))
    return told if named is None else {"mailbox_id": named, **told}


async def _conversation_pages(whose: _ExportScope) -> AsyncIterator[Page]:
    after = None
    while True:
        page = await TortoiseConversations().list(whose.user_id, _ROWS, after)
        yield Page("conversations", [{"conversation": each} for each in page.conversations])
        if page.next_cursor is None:
            return
        after = page.next_cursor


async def _sent_messages(mailbox: MailboxKey) -> AsyncIterator[tuple[MessageId, datetime]]:
    """The posts of one device, by rising id."""
    is_sqlite = connection().capabilities.dialect == "sqlite"
    after = _EVERYTHING_AFTER
    while True:
        async with database_guard():
            rows = await fetch(connection(), _MESSAGES, mailbox, after.bytes if is_sqlite else after, _ROWS)
        for row in rows:
            after = UUID(bytes=row["message_id"]) if is_sqlite else row["message_id"]
            at = row["accepted_at"]
            yield MessageId(after), from_milliseconds(at) if is_sqlite else at
        if len(rows) < _ROWS:
            return


async def _receipt_pages(whose: _ExportScope) -> AsyncIterator[Page]:
    """When mail to the account came to which end: the other side of others' outcomes."""
    yield Page("receipts", [])
    is_sqlite = connection().capabilities.dialect == "sqlite"
    for mailbox in whose.mailboxes:
        after: object = 0 if is_sqlite else from_milliseconds(0)
        while True:
            async with database_guard():
                rows = await fetch(connection(), _RECEIPTS[connection().capabilities.dialect], mailbox, after, _ROWS)
            named = {"mailbox_id": whose.mailbox_ids[mailbox]}
            yield Page("receipts", [{**named, **row, "at": _to_datetime(row["at"])} for row in rows])
            if len(rows) < _ROWS:
                break
            after = rows[-1]["at"]


def _to_datetime(at: int | datetime) -> datetime:
    return at if isinstance(at, datetime) else from_milliseconds(at)
