"""Reads all data of an account page by page, for GET /account/export. The tables are listed in account_export_tables.py."""

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
from vyry.storage.privacy import TortoiseReceipts
from vyry.storage.raw_sql import fetch


_ROWS: Final = 200
_BYTES: Final = 1 << 20
_EVERYTHING_AFTER: Final = UUID(int=0)

_MESSAGES: Final = """
    SELECT message_id, accepted_at FROM message WHERE sender = $1 AND message_id > $2 ORDER BY message_id LIMIT $3"""
#: How many envelopes of a mailbox reached which final state, by time.
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
    """The keys that find the rows of an account. `mailbox_ids` maps mailboxes and devices to the public mailbox id."""

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
        scope = _ExportScope(user_id, list(numbers), boxes, [device.id for device in devices], named)
        for table in EXPORT_TABLES:
            async for page in _table_pages(table, scope):
                yield page
        for parts in (
            _conversation_pages(scope),
            self._mail_pages(scope),
            self._post_pages(scope),
            _receipt_pages(scope),
        ):
            async for page in parts:
                yield page

    async def _mail_pages(self, scope: _ExportScope) -> AsyncIterator[Page]:
        """The mail in the mailboxes, as the devices would collect it."""
        yield Page("mail", [])
        await self._mail.deposit(scope.mailboxes)
        for state in await self._mail.load_states(scope.mailboxes):
            after = state.acknowledged.seq
            while after < state.last.seq:
                entries = await self._mail.collect([CollectRequest(state.mailbox, after, _ROWS, _BYTES)])
                if not entries:
                    break
                after = entries[-1].seq
                yield Page("mail", [{"mailbox_id": state.mailbox_id, "entry": entry} for entry in entries])

    async def _post_pages(self, scope: _ExportScope) -> AsyncIterator[Page]:
        """The messages that the account posted and whose outcomes are still stored, with the state of each copy."""
        yield Page("posts", [])
        for mailbox in scope.mailboxes:
            async for message_id, at in _sent_messages(mailbox):
                named = {"mailbox_id": scope.mailbox_ids[mailbox], "message_id": message_id, "accepted_at": at}
                # The outcome may have expired since. Receipts follow the privacy settings of the others.
                with suppress(NotFound):
                    copies = [
                        _outcome_fields(each) for each in await self._receipts.list_receipts(scope.user_id, message_id)
                    ]
                    yield Page("posts", [{**named, "copies": copies}])


def _outcome_fields(copy: CopyStatus | Receipt) -> dict[str, object]:
    if isinstance(copy, Receipt):
        return {"user_id": copy.user_id, "state": copy.state.value, "at": copy.at}
    return {**asdict(copy.address), "state": copy.state.value, "at": copy.since}


async def _table_pages(table: ExportTable, scope: _ExportScope) -> AsyncIterator[Page]:
    """The rows of one table in the order of its primary key."""
    key = table.model._meta.pk_attr  # noqa: SLF001 - Tortoise has no public name for it
    owners: Mapping[str, Sequence[object]] = {
        "account_id": [scope.user_id],
        "to_id": [scope.user_id],
        "phone_hash": scope.numbers,
        "mailbox": scope.mailboxes,
        "device": scope.devices,
        "id": scope.mailboxes if table.model is MailboxRow else [scope.user_id],
    }
    mine = table.model.filter(**{f"{table.owner}__in": owners[table.owner]}).order_by(key)
    after: object = None
    while True:
        async with database_guard():
            rows = await (mine if after is None else mine.filter(**{f"{key}__gt": after})).limit(_ROWS)
        if rows or after is None:
            yield Page(table.section, [_row(table, row, scope) for row in rows])
        if len(rows) < _ROWS:
            return
        after = getattr(rows[-1], key)


def _row(table: ExportTable, row: Model, scope: _ExportScope) -> dict[str, object]:
    exported = {table.export_names.get(name, name): getattr(row, name) for name in table.columns}
    named = scope.mailbox_ids.get(getattr(row, table.owner))
    return exported if named is None else {"mailbox_id": named, **exported}


async def _conversation_pages(scope: _ExportScope) -> AsyncIterator[Page]:
    after = None
    while True:
        page = await TortoiseConversations().list(scope.user_id, _ROWS, after)
        yield Page("conversations", [{"conversation": each} for each in page.conversations])
        if page.next_cursor is None:
            return
        after = page.next_cursor


async def _sent_messages(mailbox: MailboxKey) -> AsyncIterator[tuple[MessageId, datetime]]:
    """The messages of one device by rising id."""
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


async def _receipt_pages(scope: _ExportScope) -> AsyncIterator[Page]:
    """The final states of mail to the account: what senders learn from receipts."""
    yield Page("receipts", [])
    is_sqlite = connection().capabilities.dialect == "sqlite"
    for mailbox in scope.mailboxes:
        after: object = 0 if is_sqlite else from_milliseconds(0)
        while True:
            async with database_guard():
                rows = await fetch(connection(), _RECEIPTS[connection().capabilities.dialect], mailbox, after, _ROWS)
            named = {"mailbox_id": scope.mailbox_ids[mailbox]}
            yield Page("receipts", [{**named, **row, "at": _to_datetime(row["at"])} for row in rows])
            if len(rows) < _ROWS:
                break
            after = rows[-1]["at"]


def _to_datetime(at: int | datetime) -> datetime:
    return at if isinstance(at, datetime) else from_milliseconds(at)
