"""The one table from refusals to HTTP status, and the error body (docs/protocol.md, "Errors")."""

from binascii import b2a_base64
from collections.abc import Mapping
from typing import Final

import orjson

from vyry import errors


STATUS: Final[Mapping[type[errors.VyryError], int]] = {
    errors.InvalidRequest: 400,
    errors.InvalidOtp: 400,
    errors.InvalidKeys: 400,
    errors.Unauthorized: 401,
    errors.InvalidToken: 401,
    errors.Forbidden: 403,
    errors.InvalidPin: 403,
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
#: The one code without a refusal: something broke that nobody foresaw.
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
#: Said with 429 and 503 where the refusal itself names no time.
_DEFAULT_RETRY_SECONDS: Final = 60


def error_body(refusal: errors.VyryError, request_id: str) -> dict[str, object]:
    """The members of the error body; frames carry the same (`refused`)."""
    body: dict[str, object] = {"error": refusal.problem, "error_code": refusal.code, **refusal.members}
    if STATUS[type(refusal)] in (429, 503):
        body.setdefault("retry_after_seconds", _DEFAULT_RETRY_SECONDS)
    body["request_id"] = request_id
    return body


def internal_error_body(request_id: str) -> dict[str, object]:
    """What is said about a fault of ours: that there was one, and the id to ask about."""
    return {"error": "Something went wrong on our side.", "error_code": INTERNAL_ERROR, "request_id": request_id}


def encode_error_body(body: Mapping[str, object]) -> bytes:
    """The bytes of an error body. Values of the domain in its members (a cursor) are written as on the wire."""
    return orjson.dumps(body, default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return b2a_base64(value, newline=False).decode("ascii")
    raise TypeError(type(value).__name__)
