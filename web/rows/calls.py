"""Calls."""

from typing import Final

from web.app_keys import Route
from web.handlers import calls
from web.wire.calls import Relays


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/calls/relays",
        operation="calls.relays",
        handler=calls.relays,
        summary="The node's TURN servers, with credentials that are good for a while",
        responses={200: Relays},
    ),
)
