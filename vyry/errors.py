"""The errors of Vyry, each with its code. The web maps them to HTTP statuses (web/wire/errors.py).

The docstring of a class is its text for the caller; `problem` replaces it for one case. Neither ever contains a secret.
`members` are further members of the error body, named as on the wire (docs/protocol.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """A limit by its name: `limit` in `window_seconds` (0: at the same time)."""

    name: str
    limit: int
    window_seconds: int


class SchemaTooNew(Exception):
    """The database was migrated by a newer release: this release does not know its schema. The text says what to do."""


class SchemaTooOld(Exception):
    """The database was made by a version before 1.0, and there is no migration from it. The text says what to do."""


class CommandError(Exception):
    """A command failed; the text is one line that says what to do, `code` is the exit code."""

    code: int = 1


class OperationRefused(CommandError):
    """The state of the nodes or of the database does not allow the command; nothing was changed."""

    code = 3


class ConfigurationError(Exception):
    """The settings are invalid; `problems` has one line for each, without values. It is here so that the command line can catch it without loading the settings."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.problems = tuple(lines)


class VyryError(Exception):
    """Something went wrong."""

    code: ClassVar[str]

    def __init__(self, problem: str = "", **members: object) -> None:
        self.problem = problem or (type(self).__doc__ or "").strip().splitlines()[0]
        self.members = members
        super().__init__(self.problem)


class InvalidRequest(VyryError):
    """The request is not valid for this route."""

    code = "INVALID_REQUEST"

    def __init__(self, problem: str = "", *, fields: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(problem, **({"fields": list(fields)} if fields else {}))


class InvalidOtp(VyryError):
    """The code is wrong, used or expired."""

    code = "INVALID_OTP"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(attempts_remaining=attempts_remaining)


class InvalidKeys(VyryError):
    """A key, key id or signature is not valid."""

    code = "INVALID_KEYS"


class Unauthorized(VyryError):
    """An access token is required."""

    code = "UNAUTHORIZED"


class InvalidToken(VyryError):
    """The token is not valid (bad, expired or revoked)."""

    code = "INVALID_TOKEN"


class Forbidden(VyryError):
    """You are not allowed to do this."""

    code = "FORBIDDEN"


class InvalidPin(VyryError):
    """The PIN is wrong."""

    code = "INVALID_PIN"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(attempts_remaining=attempts_remaining)


class InvalidRecoveryCode(VyryError):
    """The name or the recovery code is wrong."""

    code = "INVALID_RECOVERY_CODE"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(attempts_remaining=attempts_remaining)


class NotAMember(VyryError):
    """You are not a member of this conversation."""

    code = "NOT_A_MEMBER"


class NotFound(VyryError):
    """The resource was not found."""

    code = "NOT_FOUND"


class MethodNotAllowed(VyryError):
    """This route does not support the method."""

    code = "METHOD_NOT_ALLOWED"


class StaleDevices(VyryError):
    """The device list does not match the recipients' current devices; nothing was stored. Correct the list and send again."""

    code = "STALE_DEVICES"


class IdempotencyMismatch(VyryError):
    """This messageId was already used for a different request."""

    code = "IDEMPOTENCY_MISMATCH"


class UsernameTaken(VyryError):
    """This username is taken."""

    code = "USERNAME_TAKEN"


class DeviceLimit(VyryError):
    """The account has the maximum number of devices; remove one first."""

    code = "DEVICE_LIMIT"


class AlreadyUsed(VyryError):
    """This can be used once only and was already used."""

    code = "ALREADY_USED"


class IdentityMismatch(VyryError):
    """The account has another identity key."""

    code = "IDENTITY_MISMATCH"


class StaleHead(VyryError):
    """The acknowledged seq and head were never sent to this device."""

    code = "STALE_HEAD"


class VersionMismatch(VyryError):
    """The resource was changed meanwhile: fetch it again and repeat the change."""

    code = "VERSION_MISMATCH"

    def __init__(self, version: int) -> None:
        super().__init__(version=version)


class LastAdmin(VyryError):
    """A group needs an admin: appoint another admin first."""

    code = "LAST_ADMIN"


class OffsetMismatch(VyryError):
    """Upload-Offset does not match the upload: send HEAD for the current offset."""

    code = "OFFSET_MISMATCH"


class UnsupportedVersion(VyryError):
    """Unsupported tus version: send the header Tus-Resumable: 1.0.0."""

    code = "UNSUPPORTED_VERSION"


class RangeNotSatisfiable(VyryError):
    """The range is outside the file, or more than one range was requested."""

    code = "RANGE_NOT_SATISFIABLE"

    def __init__(self, length: int) -> None:
        super().__init__(length=length)


class ChecksumMismatch(VyryError):
    """The checksum does not match the received bytes; they were discarded."""

    code = "CHECKSUM_MISMATCH"


class PayloadTooLarge(VyryError):
    """The request is larger than the node accepts."""

    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(VyryError):
    """The body must have the media type of this route and no Content-Encoding."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class PinRequired(VyryError):
    """The registration lock is on: send the PIN."""

    code = "PIN_REQUIRED"


class PinLocked(VyryError):
    """Too many wrong PINs; wait, or reset the PIN."""

    code = "PIN_LOCKED"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds=max(1, retry_after_seconds))


class RateLimited(VyryError):
    """Too many requests; wait and try again."""

    code = "RATE_LIMITED"

    def __init__(self, retry_after_seconds: int, problem: str = "", *, policy: LimitPolicy | None = None) -> None:
        super().__init__(problem, retry_after_seconds=max(1, retry_after_seconds))
        #: The limit that refused, for the headers of the response.
        self.policy = policy


class MailboxFull(VyryError):
    """The mailboxes of all recipients are full; nothing was stored."""

    code = "MAILBOX_FULL"


class Unavailable(VyryError):
    """A service is unavailable and the outcome is not known: try again with the same ids."""

    code = "UNAVAILABLE"

    def __init__(self, problem: str = "", retry_after_seconds: int = 2) -> None:
        super().__init__(problem, retry_after_seconds=retry_after_seconds)
