"""Remaining quotas of the caller."""

from typing import Final

from aiohttp import web

from web.app_keys import CALLER, SERVICES
from web.auth import client_address
from web.bodies import json_response
from web.route import Route
from web.wire.shapes import WireModel


class Limit(WireModel):
    """One window of one limit: `limit` in `windowSeconds` (0: concurrently), and what remains to the caller."""

    name: str
    limit: int
    window_seconds: int
    remaining: int


class Limits(WireModel):
    """Every limit of the node; a limit with several windows has one item per window."""

    limits: list[Limit]


async def show(request: web.Request) -> web.Response:
    """GET /limits."""
    left = await request.app[SERVICES].remaining_quotas.report(request[CALLER], client_address(request))
    return json_response(
        Limits(
            limits=[
                Limit(name=name, limit=grant.limit, window_seconds=grant.window, remaining=grant.remaining)
                for name, grant in left
            ]
        )
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/limits",
        operation="limits.show",
        handler=show,
        summary="Every limit and what remains to the caller; reading this costs no quota",
        responses={200: Limits},
    ),
)
