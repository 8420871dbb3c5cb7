"""Calls."""

from typing import Final

from web.handlers import calls
from web.keys import Route
from web.wire.calls import Relays


ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/calls/relays",
        handler=calls.relays,
        summary="The node's TURN servers, with credentials that are good for a while",
        answers={200: Relays},
    ),
)
