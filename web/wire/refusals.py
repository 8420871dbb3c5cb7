"""The shape of an error body, and of the members some codes add to it (docs/protocol.md, "Errors")."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from vyry import errors
from web.wire.mailbox import Cursor
from web.wire.shapes import Count, DeviceNumber, Id, RegistrationId, WireModel


class WrongField(WireModel):
    """One field that is not as it must be: its dotted path and what is wrong with it."""

    field: str
    problem: str


class Refusal(BaseModel):
    """Why the node did not do it. `error` is for people, `error_code` for programs; `request_id` equals the header X-Request-Id."""

    model_config = ConfigDict(extra="allow", frozen=True)

    error: str
    error_code: str
    request_id: Id
    retry_after_seconds: Annotated[int, Field(ge=1)] | None = None
    fields: list[WrongField] | None = None


class Attempts(BaseModel):
    """How many guesses are left."""

    attempts_remaining: Count


class DeviceOf(WireModel):
    """A device of an account."""

    user_id: Id
    device_id: DeviceNumber


class RegisteredDevice(WireModel):
    """A device of an account under its present registration."""

    user_id: Id
    device_id: DeviceNumber
    registration_id: RegistrationId


class DeviceDifference(WireModel):
    """How the devices named differ from the present ones: exact, so that the next post can be right."""

    missing: list[RegisteredDevice]
    extra: list[DeviceOf]
    stale: list[RegisteredDevice]
    epochs: dict[str, Count]
    conversation_version: Count


class PresentCursor(WireModel):
    """The point at which the node stands."""

    cursor: Cursor


class PresentVersion(BaseModel):
    """The version that there is now."""

    version: Count


class WholeLength(BaseModel):
    """How many bytes there are."""

    length: Count


class Patience(BaseModel):
    """After how many seconds it is worth trying again; equal to Retry-After where that header stands."""

    retry_after_seconds: Annotated[int, Field(ge=1)]


#: What a code adds to the error body.
EXTRA_MEMBERS: Final[Mapping[type[errors.VyryError], type[BaseModel]]] = {
    errors.InvalidOtp: Attempts,
    errors.InvalidPin: Attempts,
    errors.StaleDevices: DeviceDifference,
    errors.StaleHead: PresentCursor,
    errors.VersionMismatch: PresentVersion,
    errors.RangeNotSatisfiable: WholeLength,
    errors.PinLocked: Patience,
    errors.RateLimited: Patience,
    errors.MailboxFull: Patience,
    errors.Unavailable: Patience,
}
