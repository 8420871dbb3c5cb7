"""The node about itself: what clients ask first, health, readiness, OpenAPI, AsyncAPI and the docs page."""

from typing import Final, Literal

from aiohttp import web

from vyry import __version__
from vyry.conversations.groups import MAX_MEMBERS
from vyry.errors import Unavailable
from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_FRAME_BYTES
from web.app_keys import DOCUMENTS, DRAINING, SERVICES, SETTINGS
from web.bodies import json_response
from web.route import Route
from web.wire.shapes import Base64, Count, WireModel


class Health(WireModel):
    """The process is running. Dependencies are not checked."""

    status: Literal["ok"]
    service: Literal["vyry-api"]
    version: str


class DependencyLine(WireModel):
    """A dependency of the node, and its problem (empty if it is up)."""

    name: str
    is_up: bool
    problem: str


class Ready(WireModel):
    """The node accepts requests. Redis or Kafka may be down: mail is then delivered later, and their line says so."""

    status: Literal["ready"]
    dependencies: list[DependencyLine]


class NodeLimits(WireModel):
    """What the node accepts: sizes in bytes, lifetimes in days, counts."""

    frame_bytes: Count
    content_bytes: Count
    attachment_bytes: Count
    attachment_quota_bytes: Count
    attachment_days: Count
    mail_days: Count
    idle_device_days: Count
    devices: Count
    group_members: Count


class NodeInfo(WireModel):
    """What a client needs before it asks for anything. `vapidKey` is null for a node without Web Push, `calls` false without a TURN server."""

    name: str
    version: str
    sign_up: list[Literal["number", "invitation", "open"]]
    vapid_key: Base64 | None
    limits: NodeLimits
    calls: bool


async def info(request: web.Request) -> web.Response:
    """GET /node."""
    settings = request.app[SETTINGS]
    return json_response(
        NodeInfo(
            name=settings.display_name,
            version=__version__,
            sign_up=list(settings.sign_up),
            vapid_key=request.app[SERVICES].push.targets.public_key,
            limits=NodeLimits(
                frame_bytes=MAX_FRAME_BYTES,
                content_bytes=MAX_CONTENT_BYTES,
                attachment_bytes=settings.attachment_mib << 20,
                attachment_quota_bytes=settings.attachment_quota_mib << 20,
                attachment_days=settings.attachment_days,
                mail_days=settings.max_life_seconds // 86_400,
                idle_device_days=settings.idle_device_days,
                devices=settings.max_devices,
                group_members=MAX_MEMBERS,
            ),
            calls=bool(settings.turn_urls),
        )
    )


async def health(_: web.Request) -> web.Response:
    """GET /health: checks no dependency, so it responds while they are down."""
    return json_response(Health(status="ok", service="vyry-api", version=__version__))


async def readiness(request: web.Request) -> web.Response:
    """GET /ready: 503 while a required dependency is down or the node is stopping."""
    found = await request.app[SERVICES].health.check()
    lines = [DependencyLine(name=each.name, is_up=each.is_up, problem=each.problem) for each in found]
    if request.app[DRAINING].is_set() or any(each.is_needed and not each.is_up for each in found):
        refusal = Unavailable("The node is stopping." if request.app[DRAINING].is_set() else "The node is not ready.")
        refusal.members["dependencies"] = [line.model_dump(by_alias=True) for line in lines]
        raise refusal
    return json_response(Ready(status="ready", dependencies=lines))


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    return _document(request, "openapi")


async def asyncapi(request: web.Request) -> web.Response:
    """GET /asyncapi.json."""
    return _document(request, "asyncapi")


async def docs(request: web.Request) -> web.Response:
    """GET /docs: the only response with its own Content-Security-Policy, for its style and script."""
    return _document(request, "docs")


def _document(request: web.Request, name: str) -> web.Response:
    document = request.app[DOCUMENTS][name]
    headers = {"Content-Security-Policy": document.policy} if document.policy else None
    return web.Response(body=document.body, content_type=document.media_type, charset="utf-8", headers=headers)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/health",
        operation="health.alive",
        handler=health,
        summary="Whether this process is running",
        auth="open",
        responses={200: Health},
    ),
    Route(
        method="GET",
        path="/ready",
        operation="health.ready",
        handler=readiness,
        summary="Whether this process is ready for work, with a line per dependency",
        auth="open",
        responses={200: Ready},
        refusals=(Unavailable,),
    ),
    Route(
        method="GET",
        path="/api/v1/node",
        operation="node.info",
        handler=info,
        summary="The node's name, version, ways to sign up, Web Push key and limits",
        auth="open",
        responses={200: NodeInfo},
    ),
    Route(
        method="GET",
        path="/openapi.json",
        operation="documents.openapi",
        handler=openapi,
        summary="This document",
        auth="open",
        responses={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/asyncapi.json",
        operation="documents.asyncapi",
        handler=asyncapi,
        summary="The frames of the socket as AsyncAPI 3.0",
        auth="open",
        responses={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/docs",
        operation="documents.docs",
        handler=docs,
        summary="This documentation as a page",
        auth="open",
        responses={200: "text/html"},
    ),
)
