"""Every REST route in one table: the app serves it, OpenAPI describes it and docs/protocol.md promises it. A new route is a new row in its feature's file."""

from typing import Final

from web.api import (
    account,
    attachments,
    auth,
    calls,
    contacts,
    conversations,
    devices,
    groups,
    joining,
    keys,
    limits,
    links,
    mail,
    node,
    pin,
    push,
    signup_invitations,
)
from web.live.socket import SOCKET_ROUTE
from web.route import Route


ROUTES: Final[tuple[Route, ...]] = (
    *node.ROUTES,
    *auth.ROUTES,
    *joining.ROUTES,
    *signup_invitations.ROUTES,
    *account.ROUTES,
    *pin.ROUTES,
    *devices.ROUTES,
    *links.ROUTES,
    *push.ROUTES,
    *keys.ROUTES,
    *contacts.ROUTES,
    *conversations.ROUTES,
    *groups.ROUTES,
    *mail.ROUTES,
    SOCKET_ROUTE,
    *attachments.ROUTES,
    *calls.ROUTES,
    *limits.ROUTES,
)
