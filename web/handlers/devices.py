"""The devices of the caller's account."""

from aiohttp import web

from vyry.accounts import account
from vyry.ids import DeviceId
from web.keys import CALLER, SERVICES, SETTINGS
from web.wire.devices import Device, Devices, DevicesPage, RenameDevice
from web.wire.shapes import Nothing
from web.wire.strict import answer, numbered, parameters, read


async def show(request: web.Request) -> web.Response:
    """GET /devices."""
    page = parameters(request, DevicesPage)
    caller = request[CALLER]
    listing = await request.app[SERVICES].devices.list(caller)
    rest = [device for device in listing.devices if device.device_id > int(page.cursor or 0)]
    return answer(
        Devices(
            devices=[_shape(device, caller) for device in rest[: page.limit]],
            epoch=listing.epoch,
            max_devices=request.app[SETTINGS].max_devices,
            next_cursor=str(rest[page.limit - 1].device_id) if len(rest) > page.limit else None,
        )
    )


async def rename(request: web.Request) -> web.Response:
    """PATCH /devices/{deviceId}."""
    device_id, body = DeviceId(numbered(request, "deviceId")), await read(request, RenameDevice)
    device = await request.app[SERVICES].devices.rename(request[CALLER], device_id, body.name)
    return answer(_shape(device, request[CALLER]))


async def end(request: web.Request) -> web.Response:
    """DELETE /devices/{deviceId}: its tokens and sockets die within a second."""
    await request.app[SERVICES].devices.end(request[CALLER], DeviceId(numbered(request, "deviceId")))
    return answer(Nothing())


def _shape(device: account.Device, caller: account.Caller) -> Device:
    return Device(
        device_id=device.device_id,
        name=device.name,
        platform=device.platform.value,
        kind="primary" if device.is_primary else "linked",
        linked_at=device.linked_at,
        last_seen_on=device.last_seen_on,
        is_current=device.device == caller.device,
    )
