"""The log of operator actions. A trigger of the database refuses to change or delete a line, also for Vyry itself."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import OperatorAction
from vyry.storage.database import database_guard
from vyry.storage.models import OperatorActionRow


_PAGE: Final = 500
#: The sizes of the columns; longer texts are cut.
_OPERATOR: Final = 100
_REASON: Final = 500


async def record_action(tx: BaseDBAsyncClient, act: OperatorAction) -> None:
    """Write the line in the transaction of the action."""
    _ = await OperatorActionRow.create(
        tx,
        at=act.at,
        operator=act.operator[:_OPERATOR],
        act=act.action,
        subject=act.subject,
        reason=act.reason[:_REASON],
    )


async def has_action(act: str) -> bool:
    """Whether any operator has ever done this. Raises Unavailable."""
    async with database_guard():
        return await OperatorActionRow.filter(act=act).exists()


async def last_action_at(act: str) -> datetime | None:
    """When an operator last did this; None if never. `backup` is the last backup that was verified. Raises Unavailable."""
    async with database_guard():
        found = await OperatorActionRow.filter(act=act).order_by("-at").first()
    return found.at if found else None


async def read_acts(since: datetime | None) -> AsyncIterator[OperatorAction]:
    """All lines since then, oldest first; loads a page at a time. Raises Unavailable."""
    after = 0
    while True:
        lines = (
            OperatorActionRow.filter(id__gt=after)
            if since is None
            else OperatorActionRow.filter(id__gt=after, at__gte=since)
        )
        async with database_guard():
            page = await lines.order_by("id").limit(_PAGE)
        for row in page:
            yield OperatorAction(row.at, row.operator, row.act, row.reason, row.subject)
        if len(page) < _PAGE:
            return
        after = page[-1].id
