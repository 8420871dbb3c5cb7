"""What happens to an account: events, the archive, and its end."""

from typing import Final

from vyry.errors import InvalidOtp, InvalidPin, PinLocked
from vyry.limits import EXPORT, PIN_CHECKS
from web.app_keys import Route
from web.handlers import account_life
from web.wire.account_life import DeleteAccount, Events, EventsQuery
from web.wire.export import AccountArchive
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account/events",
        operation="account_life.events",
        handler=account_life.events,
        summary="What happened to the security of the account, newest first",
        query=EventsQuery,
        responses={200: Events},
    ),
    Route(
        method="GET",
        path="/api/v1/account/export",
        operation="account_life.export",
        handler=account_life.export,
        summary="An archive of all that the node holds about the account",
        responses={200: AccountArchive},
        quota=EXPORT,
    ),
    Route(
        method="POST",
        path="/api/v1/account/delete",
        operation="account_life.delete",
        handler=account_life.delete,
        summary="Delete the account: at once what it can do, within a minute all there is of it",
        body=DeleteAccount,
        responses={200: Nothing},
        refusals=(InvalidOtp, InvalidPin, PinLocked),
        quota=PIN_CHECKS,
    ),
)
