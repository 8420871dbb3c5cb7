"""The log of operators' acts. The database refuses to change or delete a line (migration 0002), also to Vyry itself."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.acts import OperatorAct
from vyry.adapters.database import available
from vyry.adapters.rows import OperatorActRow


_PAGE: Final = 500
#: What the columns hold; a longer reason is cut rather than lost.
_OPERATOR: Final = 100
_REASON: Final = 500


async def note_act(inside: BaseDBAsyncClient, act: OperatorAct) -> None:
    """Write the line, in the transaction that does what it tells of."""
    _ = await OperatorActRow.create(
        inside,
        at=act.at,
        operator=act.operator[:_OPERATOR],
        act=act.act,
        subject=act.subject,
        reason=act.reason[:_REASON],
    )


async def was_done(act: str) -> bool:
    """Whether any operator did this, ever. Raises Unavailable."""
    async with available():
        return await OperatorActRow.filter(act=act).exists()


async def read_acts(since: datetime | None) -> AsyncIterator[OperatorAct]:
    """All lines from that moment on, oldest first, a page at a time. Raises Unavailable."""
    after = 0
    while True:
        lines = (
            OperatorActRow.filter(id__gt=after) if since is None else OperatorActRow.filter(id__gt=after, at__gte=since)
        )
        async with available():
            page = await lines.order_by("id").limit(_PAGE)
        for row in page:
            yield OperatorAct(row.at, row.operator, row.act, row.reason, row.subject)
        if len(page) < _PAGE:
            return
        after = page[-1].id
