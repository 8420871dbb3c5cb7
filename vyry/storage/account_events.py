"""Security events of accounts, each written in the transaction of the change that it reports."""

from typing import cast

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import AccountEvent, EventName, EventPage
from vyry.kernel.ids import UserId
from vyry.storage.database import database_guard
from vyry.storage.models import AccountEventRow


async def record_event(tx: BaseDBAsyncClient, event: AccountEvent) -> None:
    """Add an event that the owner can read."""
    _ = await AccountEventRow.create(
        tx,
        account_id=event.account_id,
        name=event.name,
        at=event.at,
        device_id=event.device_id,
        detail=dict(event.detail),
    )


class TortoiseAccountEvents:
    """AccountEvents on PostgreSQL or SQLite."""

    async def page(self, user_id: UserId, limit: int, before: int | None) -> EventPage:
        mine = AccountEventRow.filter(account_id=user_id)
        behind = mine if before is None else mine.filter(id__lt=before)
        async with database_guard():
            rows = await behind.order_by("-id").limit(limit + 1)
        return EventPage([_event(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None)


def _event(row: AccountEventRow) -> AccountEvent:
    return AccountEvent(row.account_id, cast("EventName", row.name), row.at, row.device_id, row.detail)
