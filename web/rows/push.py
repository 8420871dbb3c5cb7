"""How a device is woken."""

from typing import Final

from web.handlers import push
from web.keys import Route
from web.wire.push import RegisterPush
from web.wire.shapes import Nothing


ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="PUT",
        path="/api/v1/devices/current/push",
        handler=push.register,
        summary="Wake this device by push when mail waits; pushes carry no content",
        body=RegisterPush,
        answers={200: Nothing},
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/current/push",
        handler=push.withdraw,
        summary="Wake this device no more",
        answers={200: Nothing},
    ),
)
