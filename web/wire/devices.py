"""Shapes of the device list (docs/protocol.md, "Devices and linking")."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from web.wire.shapes import Count, Timestamp, WireModel
from web.wire.texts import Name


class Device(WireModel):
    """One device of the caller's account."""

    device_id: Annotated[int, Field(ge=1, le=127)]
    name: str
    platform: Literal["ios", "android", "web", "desktop", "cli"]
    kind: Literal["primary", "linked"]
    linked_at: Timestamp
    last_seen_on: date
    is_current: bool


class Devices(WireModel):
    """The devices of the caller's account by rising number, and the epoch of its device list."""

    devices: list[Device]
    epoch: Count
    max_devices: Count
    next_cursor: str | None


class DevicesPage(WireModel):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(pattern="^[0-9]{1,3}$")] | None = None


class RenameDevice(WireModel):
    """Another name for a device."""

    name: Name
