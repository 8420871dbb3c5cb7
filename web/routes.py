"""The whole surface as one table: what the app serves, OpenAPI describes and docs/protocol.md promises. Rows are added in their room, and nowhere else."""

from typing import Final

from web.keys import Route
from web.rows import (
    account,
    account_life,
    attachments,
    calls,
    conversations,
    devices,
    documents,
    groups,
    keys,
    limits,
    links,
    mail,
    people,
    pin,
    push,
    sessions,
)


ROUTES: Final[tuple[Route, ...]] = (
    *documents.ROWS,
    *sessions.ROWS,
    *account.ROWS,
    *account_life.ROWS,
    *pin.ROWS,
    *devices.ROWS,
    *links.ROWS,
    *push.ROWS,
    *keys.ROWS,
    *people.ROWS,
    *conversations.ROWS,
    *groups.ROWS,
    *mail.ROWS,
    *attachments.ROWS,
    *calls.ROWS,
    *limits.ROWS,
)
