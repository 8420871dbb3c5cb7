"""Limits."""

from typing import Final

from web.handlers import limits
from web.keys import Route
from web.wire.limits import Limits


ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/limits",
        handler=limits.show,
        summary="Every limit, and what it leaves to the caller; looking takes nothing",
        answers={200: Limits},
    ),
)
