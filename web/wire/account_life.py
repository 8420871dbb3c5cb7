"""Shapes of what happens to an account: its events and its end (docs/protocol.md, "Account")."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from web.wire.pin import Pin
from web.wire.shapes import DeviceNumber, Id, Timestamp, WireModel


class DeleteAccount(WireModel):
    """What proves that the owner wants it: a code for deleteAccount, and the PIN if there is one."""

    challenge_id: Id
    otp: Annotated[str, Field(min_length=1, max_length=16)]
    pin: Pin | None = None


class EventsQuery(WireModel):
    """Which part of the list; the cursor is the `nextCursor` of the part before."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(pattern="^[0-9]{1,18}$")] | None = None


class Event(WireModel):
    """Something about the security of the account. `deviceId` did it, or it was done to it."""

    at: Timestamp
    name: str
    device_id: DeviceNumber | None
    detail: Mapping[str, object]


class Events(WireModel):
    """The account's events, newest first."""

    events: Sequence[Event]
    next_cursor: str | None
