"""The whole surface as one table: what the app serves, OpenAPI describes and docs/protocol.md promises. Rows are added here and nowhere else."""

from typing import Final

from web.handlers import health
from web.keys import Route
from web.wire.health import Health


ROUTES: Final[tuple[Route, ...]] = (
    # Open routes without prefix
    Route(
        method="GET",
        path="/health",
        handler=health.alive,
        summary="Whether this process runs",
        auth="open",
        answers={200: Health},
    ),
)
