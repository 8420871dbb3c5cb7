"""The devices of the caller's account."""

from typing import Final

from vyry.errors import (
    Forbidden,
    NotFound,
)
from vyry.limits import DEVICE_REQUESTS
from web.app_keys import Route
from web.handlers import devices
from web.wire.devices import Device, Devices, DevicesPage, RenameDevice
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/devices",
        operation="devices.show",
        handler=devices.show,
        summary="The devices of the caller's account",
        query=DevicesPage,
        responses={200: Devices},
    ),
    Route(
        method="PATCH",
        path="/api/v1/devices/{deviceId}",
        operation="devices.rename",
        handler=devices.rename,
        summary="Give a device of the caller's account another name",
        body=RenameDevice,
        responses={200: Device},
        refusals=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/{deviceId}",
        operation="devices.end",
        handler=devices.end,
        summary="End a device: the primary any, a linked one itself",
        responses={200: Nothing},
        refusals=(Forbidden, NotFound),
        shared_quota=DEVICE_REQUESTS,
    ),
)
