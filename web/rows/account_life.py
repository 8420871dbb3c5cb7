"""What happens to an account: events, and its end."""

from typing import Final

from web.handlers import account_life
from web.keys import Route
from web.wire.account_life import Events, EventsQuery


ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account/events",
        handler=account_life.events,
        summary="What happened to the security of the account, newest first",
        query=EventsQuery,
        answers={200: Events},
    ),
)
