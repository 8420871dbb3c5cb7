"""Every refusal Vyry can utter: a code word and what belongs to it. The HTTP status is the web's business (web/wire/errors.py).

A class's docstring is its text for people; `problem` says more about this one case. Neither ever holds a secret.
`members` are the code's own extra members of the error body, named as on the wire (api.md section 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """A limit by its name: so many in so many seconds (0: at any one time)."""

    name: str
    limit: int
    window_seconds: int


class SchemaTooNew(Exception):
    """The database was migrated by a newer release: this one does not know what it holds. Its text says what to do."""


class SchemaTooOld(Exception):
    """The database was made by a version before 1.0, from which no migration leads here. Its text says what to do."""


class ConfigurationError(Exception):
    """The operator's settings do not do; `lines` holds one line for each thing to mend, none of them a value. Below settings, so that the command line can name it without loading what reads them."""

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
    """The request is not of the shape this route takes."""

    code = "INVALID_REQUEST"

    def __init__(self, problem: str = "", *, fields: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(problem, **({"fields": list(fields)} if fields else {}))


class InvalidOtp(VyryError):
    """The code is wrong, used or expired."""

    code = "INVALID_OTP"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(attempts_remaining=attempts_remaining)


class InvalidKeys(VyryError):
    """A key, id or signature is not acceptable."""

    code = "INVALID_KEYS"


class Unauthorized(VyryError):
    """An access token is needed."""

    code = "UNAUTHORIZED"


class InvalidToken(VyryError):
    """The token is not valid (bad, expired or revoked)."""

    code = "INVALID_TOKEN"


class Forbidden(VyryError):
    """This is not allowed to you."""

    code = "FORBIDDEN"


class InvalidPin(VyryError):
    """The PIN is wrong."""

    code = "INVALID_PIN"

    def __init__(self, attempts_remaining: int) -> None:
        super().__init__(attempts_remaining=attempts_remaining)


class NotAMember(VyryError):
    """You are not a member of this conversation."""

    code = "NOT_A_MEMBER"


class NotFound(VyryError):
    """There is no such thing."""

    code = "NOT_FOUND"


class MethodNotAllowed(VyryError):
    """This route does not know that method."""

    code = "METHOD_NOT_ALLOWED"


class StaleDevices(VyryError):
    """The devices named are not the recipients' present devices; nothing was stored."""

    code = "STALE_DEVICES"


class IdempotencyMismatch(VyryError):
    """This messageId was used for another body."""

    code = "IDEMPOTENCY_MISMATCH"


class UsernameTaken(VyryError):
    """Somebody has this username."""

    code = "USERNAME_TAKEN"


class DeviceLimit(VyryError):
    """The account has as many devices as it may; end one first."""

    code = "DEVICE_LIMIT"


class AlreadyUsed(VyryError):
    """This was used before, and works once only."""

    code = "ALREADY_USED"


class IdentityMismatch(VyryError):
    """The account has another identity key."""

    code = "IDENTITY_MISMATCH"


class StaleHead(VyryError):
    """This is not a point of the mailbox that was sent to the device."""

    code = "STALE_HEAD"


class VersionMismatch(VyryError):
    """It was changed meanwhile; look again, and change what is there now."""

    code = "VERSION_MISMATCH"

    def __init__(self, version: int) -> None:
        super().__init__(version=version)


class LastAdmin(VyryError):
    """A group needs an admin: hand over first."""

    code = "LAST_ADMIN"


class OffsetMismatch(VyryError):
    """The upload is not there; ask with HEAD how far it is."""

    code = "OFFSET_MISMATCH"


class UnsupportedVersion(VyryError):
    """This speaks tus 1.0.0, and the header Tus-Resumable must say so."""

    code = "UNSUPPORTED_VERSION"


class RangeNotSatisfiable(VyryError):
    """There are no such bytes, or more than one range was asked for."""

    code = "RANGE_NOT_SATISFIABLE"

    def __init__(self, length: int) -> None:
        super().__init__(length=length)


class ChecksumMismatch(VyryError):
    """What came is not what was sent; nothing of it was kept."""

    code = "CHECKSUM_MISMATCH"


class PayloadTooLarge(VyryError):
    """This is larger than the node takes."""

    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(VyryError):
    """The body must be of the type that the route takes, without Content-Encoding."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class PinRequired(VyryError):
    """A registration lock holds: give the PIN."""

    code = "PIN_REQUIRED"


class PinLocked(VyryError):
    """Too many wrong PINs; wait, or reset the PIN."""

    code = "PIN_LOCKED"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds=max(1, retry_after_seconds))


class RateLimited(VyryError):
    """Too many of these; wait and try again."""

    code = "RATE_LIMITED"

    def __init__(self, retry_after_seconds: int, problem: str = "", *, policy: LimitPolicy | None = None) -> None:
        super().__init__(problem, retry_after_seconds=max(1, retry_after_seconds))
        #: Which limit refused, for the headers of the answer.
        self.policy = policy


class MailboxFull(VyryError):
    """No mailbox of the recipients has room; nothing was stored."""

    code = "MAILBOX_FULL"


class Unavailable(VyryError):
    """A service this needs is away; nothing is decided, try again with the same ids."""

    code = "UNAVAILABLE"

    def __init__(self, problem: str = "", retry_after_seconds: int = 2) -> None:
        super().__init__(problem, retry_after_seconds=retry_after_seconds)
