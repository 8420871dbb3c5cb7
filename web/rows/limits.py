"""Limits."""

from typing import Final

from web.app_keys import Route
from web.handlers import limits
from web.wire.limits import Limits


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/limits",
        operation="limits.show",
        handler=limits.show,
        summary="Every limit, and what it leaves to the caller; looking takes nothing",
        responses={200: Limits},
    ),
)
