"""The whole surface as one table: what the app serves, OpenAPI describes and docs/protocol.md promises. Rows are added in their room, and nowhere else."""

from typing import Final

from web.app_keys import Route
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
    *documents.ROUTES,
    *sessions.ROUTES,
    *account.ROUTES,
    *account_life.ROUTES,
    *pin.ROUTES,
    *devices.ROUTES,
    *links.ROUTES,
    *push.ROUTES,
    *keys.ROUTES,
    *people.ROUTES,
    *conversations.ROUTES,
    *groups.ROUTES,
    *mail.ROUTES,
    *attachments.ROUTES,
    *calls.ROUTES,
    *limits.ROUTES,
)
