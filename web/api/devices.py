"""The devices of the caller's account (docs/protocol.md, "Devices")."""

from datetime import date
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.accounts import account
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import DeviceId
from vyry.limits import DEVICE_REQUESTS
from web.app_keys import CALLER, SERVICES, SETTINGS
from web.bodies import json_response, path_device_id, read_body, read_query
from web.route import Route
from web.wire.shapes import Count, DeviceNumber, Name, Nothing, PageLimit, PlatformName, Timestamp, WireModel


class Device(WireModel):
    """One device of the caller's account."""

    device_id: DeviceNumber
    name: str
    platform: PlatformName
    kind: Literal["primary", "linked"]
    linked_at: Timestamp
    last_seen_on: date
    is_current: bool


class Devices(WireModel):
    """The devices of the caller's account by rising id, and the epoch of its device list."""

    devices: list[Device]
    epoch: Count
    max_devices: Count
    next_cursor: str | None


class DevicesPage(WireModel):
    """A page of the list."""

    limit: PageLimit = 50
    cursor: Annotated[str, Field(pattern="^[0-9]{1,3}$")] | None = None


class RenameDevice(WireModel):
    """A new name for a device."""

    name: Name


async def list_devices(request: web.Request) -> web.Response:
    """GET /devices."""
    page = read_query(request, DevicesPage)
    caller = request[CALLER]
    listing = await request.app[SERVICES].devices.list(caller)
    rest = [device for device in listing.devices if device.device_id > int(page.cursor or 0)]
    return json_response(
        Devices(
            devices=[_device_shape(device, caller) for device in rest[: page.limit]],
            epoch=listing.epoch,
            max_devices=request.app[SETTINGS].max_devices,
            next_cursor=str(rest[page.limit - 1].device_id) if len(rest) > page.limit else None,
        )
    )


async def rename(request: web.Request) -> web.Response:
    """PATCH /devices/{deviceId}."""
    device_id, body = DeviceId(path_device_id(request, "deviceId")), await read_body(request, RenameDevice)
    device = await request.app[SERVICES].devices.rename(request[CALLER], device_id, body.name)
    return json_response(_device_shape(device, request[CALLER]))


async def delete(request: web.Request) -> web.Response:
    """DELETE /devices/{deviceId}: its tokens and sockets end within a second."""
    await request.app[SERVICES].devices.end(request[CALLER], DeviceId(path_device_id(request, "deviceId")))
    return json_response(Nothing())


def _device_shape(device: account.Device, caller: account.Caller) -> Device:
    return Device(
        device_id=device.device_id,
        name=device.name,
        platform=device.platform.value,
        kind="primary" if device.is_primary else "linked",
        linked_at=device.linked_at,
        last_seen_on=device.last_seen_on,
        is_current=device.device == caller.device,
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/devices",
        operation="devices.show",
        handler=list_devices,
        summary="The devices of the caller's account",
        query=DevicesPage,
        responses={200: Devices},
    ),
    Route(
        method="PATCH",
        path="/api/v1/devices/{deviceId}",
        operation="devices.rename",
        handler=rename,
        summary="Rename a device of the caller's account",
        body=RenameDevice,
        responses={200: Device},
        refusals=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/{deviceId}",
        operation="devices.end",
        handler=delete,
        summary="Remove a device: the primary may remove any, a linked device itself",
        responses={200: Nothing},
        refusals=(Forbidden, NotFound),
        shared_quota=DEVICE_REQUESTS,
    ),
)
