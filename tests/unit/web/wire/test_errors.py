"""The table from errors to HTTP status: complete, and equal to docs/protocol.md."""

from collections.abc import Iterator

import pytest

from vyry import errors
from web.wire.errors import STATUS, error_body


PROMISED = {
    400: {"INVALID_REQUEST", "INVALID_OTP", "INVALID_KEYS"},
    401: {"UNAUTHORIZED", "INVALID_TOKEN"},
    403: {"FORBIDDEN", "INVALID_PIN", "INVALID_RECOVERY_CODE", "NOT_A_MEMBER"},
    404: {"NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    409: {
        *("STALE_DEVICES", "IDEMPOTENCY_MISMATCH", "USERNAME_TAKEN", "DEVICE_LIMIT", "ALREADY_USED"),
        *("IDENTITY_MISMATCH", "STALE_HEAD", "VERSION_MISMATCH", "LAST_ADMIN", "OFFSET_MISMATCH"),
    },
    412: {"UNSUPPORTED_VERSION"},
    413: {"PAYLOAD_TOO_LARGE"},
    415: {"UNSUPPORTED_MEDIA_TYPE"},
    416: {"RANGE_NOT_SATISFIABLE"},
    423: {"PIN_REQUIRED", "PIN_LOCKED"},
    429: {"RATE_LIMITED", "MAILBOX_FULL"},
    460: {"CHECKSUM_MISMATCH"},
    503: {"UNAVAILABLE"},
}


def leaves(kind: type[errors.VyryError] = errors.VyryError) -> Iterator[type[errors.VyryError]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


def test_every_refusal_has_a_status_and_no_other_has() -> None:
    assert set(leaves()) == set(STATUS)


def test_every_code_belongs_to_one_refusal() -> None:
    assert len({refusal.code for refusal in STATUS}) == len(STATUS)


def test_every_status_is_the_promised_one() -> None:
    assert {
        refusal.code: status for refusal, status in STATUS.items() if refusal.code not in PROMISED.get(status, ())
    } == {}


@pytest.mark.parametrize("refusal", list(STATUS), ids=lambda refusal: refusal.code)
def test_every_refusal_says_itself_in_a_sentence_for_people(refusal: type[errors.VyryError]) -> None:
    text = (refusal.__doc__ or "").splitlines()[0]

    assert text.endswith(".")
    assert 10 < len(text) <= 120


def test_an_error_body_has_only_the_members_that_apply() -> None:
    assert error_body(errors.NotFound(), "id") == {
        "error": "The resource was not found.",
        "error_code": "NOT_FOUND",
        "request_id": "id",
    }


@pytest.mark.parametrize(("seconds", "most"), [(1, 2), (5, 10), (86_400, 86_415)])
def test_the_retry_times_of_503_are_spread_because_many_clients_get_one_at_once(seconds: int, most: int) -> None:
    told = {error_body(errors.Unavailable("", seconds), "id")["retry_after_seconds"] for _ in range(500)}

    assert told == set(range(seconds, most + 1))


def test_the_exact_time_of_a_rate_limit_is_kept() -> None:
    assert {error_body(errors.RateLimited(7), "id")["retry_after_seconds"] for _ in range(50)} == {7}


@pytest.mark.parametrize("refusal", [errors.RateLimited(7), errors.MailboxFull(), errors.Unavailable()])
def test_who_has_to_wait_is_told_how_long(refusal: errors.VyryError) -> None:
    seconds = error_body(refusal, "id")["retry_after_seconds"]

    assert isinstance(seconds, int)
    assert seconds >= 1
