"""The outcome of a push request, shared by all push services."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from vyry.clock import Clock
from vyry.delivery.circuit_breaker import CircuitBreaker
from vyry.devices.push_wakeups import PushOutcome, PushResult


TRY_SECONDS: Final = 10.0
#: Wakeups of a push service wait so long while its circuit breaker is open.
OPEN_WAIT_SECONDS: Final = 3.0


class RetryLater(Exception):
    """The push service asked to retry later."""


async def push_guarded(
    breaker: CircuitBreaker, send: Callable[[], Awaitable[PushOutcome]], errors: tuple[type[Exception], ...]
) -> PushOutcome:
    """Send through the circuit breaker; `errors` are those of the HTTP client."""
    if not breaker.admit_call():
        return PushOutcome(PushResult.CIRCUIT_OPEN, OPEN_WAIT_SECONDS)
    try:
        outcome = await send()
    except errors as problem:
        breaker.record_failure(problem)
        return PushOutcome(PushResult.LATER)
    if outcome.result is PushResult.LATER:
        breaker.record_failure(RetryLater())
    else:
        breaker.record_success()
    return outcome


def parse_retry_after(value: str, clock: Clock) -> float:
    """The seconds of a Retry-After header, given as a number or as a date; 0 for anything else."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (_aware(moment) - clock.now()).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
