"""What the node says of itself, without a prefix."""

from typing import Final

from vyry.errors import (
    Unavailable,
)
from web.app_keys import Route
from web.handlers import documents, health
from web.wire.health import Health, Ready


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/health",
        operation="health.alive",
        handler=health.alive,
        summary="Whether this process runs",
        auth="open",
        responses={200: Health},
    ),
    Route(
        method="GET",
        path="/ready",
        operation="health.ready",
        handler=health.ready,
        summary="Whether this process is ready for work, with a line for each thing it depends on",
        auth="open",
        responses={200: Ready},
        refusals=(Unavailable,),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        operation="documents.openapi",
        handler=documents.openapi,
        summary="This document",
        auth="open",
        responses={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/asyncapi.json",
        operation="documents.asyncapi",
        handler=documents.asyncapi,
        summary="The frames of the socket as AsyncAPI 3.0",
        auth="open",
        responses={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/docs",
        operation="documents.docs",
        handler=documents.docs,
        summary="All of it for people",
        auth="open",
        responses={200: "text/html"},
    ),
)
