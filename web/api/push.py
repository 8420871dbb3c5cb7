"""Push registration of the calling device (docs/protocol.md, "Push"). The domain checks which members belong to which kind."""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.devices.push import PushKind, PushTarget
from vyry.errors import NotFound
from web.app_keys import CALLER, SERVICES
from web.bodies import json_response, read_body
from web.route import Route
from web.wire.shapes import Base64, Nothing, WireModel


class VapidKey(WireModel):
    """`publicKey`: an uncompressed point of P-256 (65 bytes), the applicationServerKey of browsers."""

    public_key: Base64


class RegisterPush(WireModel):
    """The push target of the calling device: webpush has `endpoint`, `p256dh`, `auth`; unifiedpush `endpoint`; fcm `token`; apns `token`, `topic`."""

    kind: Literal["webpush", "unifiedpush", "fcm", "apns"]
    endpoint: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    #: The browsers' name; to_camel would capitalise the letter after the digits.
    p256dh: Annotated[Base64 | None, Field(alias="p256dh")] = None
    auth: Base64 | None = None
    token: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    topic: Annotated[str, Field(min_length=1, max_length=255)] | None = None

    def to_domain(self) -> PushTarget:
        """The domain value of this shape."""
        return PushTarget(PushKind(self.kind), self.endpoint, self.p256dh, self.auth, self.token, self.topic)


async def vapid_key(request: web.Request) -> web.Response:
    """GET /push/vapid-key."""
    return json_response(VapidKey(public_key=request.app[SERVICES].push.targets.vapid_key()))


async def register(request: web.Request) -> web.Response:
    """PUT /devices/current/push."""
    body = await read_body(request, RegisterPush)
    await request.app[SERVICES].push.targets.register(request[CALLER], body.to_domain())
    return json_response(Nothing())


async def withdraw(request: web.Request) -> web.Response:
    """DELETE /devices/current/push."""
    await request.app[SERVICES].push.targets.withdraw(request[CALLER])
    return json_response(Nothing())


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/push/vapid-key",
        operation="push.vapid_key",
        handler=vapid_key,
        summary="The node's public Web Push key, for a browser's subscription",
        responses={200: VapidKey},
        refusals=(NotFound,),
    ),
    Route(
        method="PUT",
        path="/api/v1/devices/current/push",
        operation="push.register",
        handler=register,
        summary="Register this device for push; pushes carry no content",
        body=RegisterPush,
        responses={200: Nothing},
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/current/push",
        operation="push.withdraw",
        handler=withdraw,
        summary="Unregister push",
        responses={200: Nothing},
    ),
)
