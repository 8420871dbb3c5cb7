"""The devices of the caller's account."""

from aiohttp import web

from vyry.accounts import account
from vyry.kernel.ids import DeviceId
from web.app_keys import CALLER, SERVICES, SETTINGS
from web.wire.devices import Device, Devices, DevicesPage, RenameDevice
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_device_id, read_body, read_query


async def show(request: web.Request) -> web.Response:
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


async def end(request: web.Request) -> web.Response:
    """DELETE /devices/{deviceId}: its tokens and sockets die within a second."""
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
