"""How a device is woken."""

from typing import Final

from vyry.errors import NotFound
from web.app_keys import Route
from web.handlers import push
from web.wire.push import RegisterPush, VapidKey
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/push/vapid-key",
        operation="push.vapid_key",
        handler=push.vapid_key,
        summary="The node's public key of Web Push, which a browser binds its subscription to",
        responses={200: VapidKey},
        refusals=(NotFound,),
    ),
    Route(
        method="PUT",
        path="/api/v1/devices/current/push",
        operation="push.register",
        handler=push.register,
        summary="Wake this device by push when mail waits; pushes carry no content",
        body=RegisterPush,
        responses={200: Nothing},
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/current/push",
        operation="push.withdraw",
        handler=push.withdraw,
        summary="Wake this device no more",
        responses={200: Nothing},
    ),
)
