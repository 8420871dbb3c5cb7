"""The one table from refusals to HTTP status, the error body and its shapes (docs/protocol.md, "Errors")."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from vyry import errors
from vyry.kernel.backoff import jittered
from web.wire.mailbox import Cursor
from web.wire.shapes import Count, DeviceNumber, Id, RegistrationId, WireModel, encode_json


STATUS: Final[Mapping[type[errors.VyryError], int]] = {
    errors.InvalidRequest: 400,
    errors.InvalidOtp: 400,
    errors.InvalidKeys: 400,
    errors.Unauthorized: 401,
    errors.InvalidToken: 401,
    errors.Forbidden: 403,
    errors.InvalidPin: 403,
    errors.InvalidRecoveryCode: 403,
    errors.NotAMember: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.StaleDevices: 409,
    errors.IdempotencyMismatch: 409,
    errors.UsernameTaken: 409,
    errors.DeviceLimit: 409,
    errors.AlreadyUsed: 409,
    errors.IdentityMismatch: 409,
    errors.StaleHead: 409,
    errors.VersionMismatch: 409,
    errors.LastAdmin: 409,
    errors.OffsetMismatch: 409,
    errors.UnsupportedVersion: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RangeNotSatisfiable: 416,
    errors.PinRequired: 423,
    errors.PinLocked: 423,
    errors.RateLimited: 429,
    errors.MailboxFull: 429,
    errors.ChecksumMismatch: 460,
    errors.Unavailable: 503,
}
#: The one code without a VyryError class: an unexpected exception.
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
#: Retry time of a 429 or 503 whose error names none.
_DEFAULT_RETRY_SECONDS: Final = 60
#: The retry times of 503 are spread up to twice the time of the error, and by so many seconds at most: many clients get one at the same moment.
_MAX_RETRY_SPREAD: Final = 15


def error_body(refusal: errors.VyryError, request_id: str) -> dict[str, object]:
    """The error body of a REST response; the payload of the frame `refused` is the same."""
    body: dict[str, object] = {"error": refusal.problem, "error_code": refusal.code, **refusal.members}
    if STATUS[type(refusal)] in (429, 503):
        body.setdefault("retry_after_seconds", _DEFAULT_RETRY_SECONDS)
    if isinstance(refusal, errors.Unavailable):
        seconds = int(str(body["retry_after_seconds"]))
        body["retry_after_seconds"] = seconds + round(jittered(min(seconds, _MAX_RETRY_SPREAD), 0, 1))
    body["request_id"] = request_id
    return body


def internal_error_body(request_id: str) -> dict[str, object]:
    """The error body of an unexpected exception: no detail but the request id."""
    return {"error": "Internal error.", "error_code": INTERNAL_ERROR, "request_id": request_id}


def encode_error_body(body: Mapping[str, object]) -> bytes:
    """The error body as JSON; domain values in it (a cursor) are written as on the wire."""
    return encode_json(body)


class WrongField(WireModel):
    """An invalid field: its dotted path and the problem."""

    field: str
    problem: str


class Refusal(BaseModel):
    """The error body. `error` is for people, `error_code` for programs; `request_id` equals the header X-Request-Id."""

    model_config = ConfigDict(extra="allow", frozen=True)

    error: str
    error_code: str
    request_id: Id
    retry_after_seconds: Annotated[int, Field(ge=1)] | None = None
    fields: list[WrongField] | None = None


class Attempts(BaseModel):
    """Remaining attempts."""

    attempts_remaining: Count


class DeviceOf(WireModel):
    """A device of an account."""

    user_id: Id
    device_id: DeviceNumber


class RegisteredDevice(WireModel):
    """A device of an account with its current registration id."""

    user_id: Id
    device_id: DeviceNumber
    registration_id: RegistrationId


class DeviceDifference(WireModel):
    """The exact difference between the posted devices and the current ones."""

    missing: list[RegisteredDevice]
    extra: list[DeviceOf]
    stale: list[RegisteredDevice]
    epochs: dict[str, Count]
    conversation_version: Count


class PresentCursor(WireModel):
    """The node's current cursor."""

    cursor: Cursor


class PresentVersion(BaseModel):
    """The current version."""

    version: Count


class WholeLength(BaseModel):
    """The length of the attachment."""

    length: Count


class Patience(BaseModel):
    """Seconds until a retry makes sense; equals the header Retry-After if it is present."""

    retry_after_seconds: Annotated[int, Field(ge=1)]


#: Extra members of the error body, by error.
EXTRA_MEMBERS: Final[Mapping[type[errors.VyryError], type[BaseModel]]] = {
    errors.InvalidOtp: Attempts,
    errors.InvalidPin: Attempts,
    errors.InvalidRecoveryCode: Attempts,
    errors.StaleDevices: DeviceDifference,
    errors.StaleHead: PresentCursor,
    errors.VersionMismatch: PresentVersion,
    errors.RangeNotSatisfiable: WholeLength,
    errors.PinLocked: Patience,
    errors.RateLimited: Patience,
    errors.MailboxFull: Patience,
    errors.Unavailable: Patience,
}
