"""One POST to somebody else's HTTP service, so that it is known afterwards whether a message is on its way: time-out, careful repetition, circuit breaker.

No redirect is followed and no proxy of the environment is used. What is logged is a status and a number for the error, never an address, a body or a secret.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import aiohttp
import orjson

from vyry.accounts.otp import SendFailed
from vyry.outage import OutageTracker
from vyry.telemetry import log


#: All tries and the pauses between them.
DEADLINE_SECONDS: Final = 9.5
RETRY_DELAYS: Final = (0.2, 0.8)
#: After so many failures in a row nothing is tried for a while.
_FAILURES: Final = 3
_ANSWER_BYTES: Final = 64 << 10


class SendResult(Enum):
    """What became of one try."""

    SENT = "sent"
    #: Surely not sent: no connection, or told to come again.
    NOT_REACHED = "not reached"
    #: Surely not sent, and it will not be.
    REFUSED = "refused"
    #: Nor will any other: the node's account is not let in.
    UNAUTHORIZED = "barred"
    UNKNOWN = "unclear"


_RESULT_BY_STATUS: Final = {
    401: SendResult.UNAUTHORIZED,
    403: SendResult.UNAUTHORIZED,
    408: SendResult.UNKNOWN,
    429: SendResult.NOT_REACHED,
}


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """What a service said: `body` is its JSON object, empty if it was none."""

    status: int
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """What is posted: bytes of one media type, with further headers."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class CircuitBreaker:
    """Keeps off a service that fails: the line closes after three failures in a row, then lets one try through at a time, ever more seldom up to 30 s."""

    def __init__(self, name: str) -> None:
        self._outage = OutageTracker(name, first_seconds=1, longest_seconds=30)
        self._failures = 0
        self._closed_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nothing is to be tried now; a caller that is let through a closed line is the only one until it is back."""
        now = time.monotonic()
        if now < self._closed_until:
            return True
        if self._failures >= _FAILURES:
            self._closed_until = now + DEADLINE_SECONDS
        return False

    def record_failure(self, problem: Exception) -> None:
        """The service did not do what it is there for."""
        self._failures += 1
        if self._failures >= _FAILURES:
            self._closed_until = time.monotonic() + self._outage.record_failure(problem)

    def record_success(self) -> None:
        """It answered as it should, if only to refuse."""
        self._failures, self._closed_until = 0, 0.0
        self._outage.record_success()


class Gateway:
    """A service that takes messages. `is_repeatable`: it knows a message it has taken already, so one may be sent again whose fate is unclear."""

    def __init__(self, try_seconds: float, *, is_idempotent: bool) -> None:
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)
        self._is_repeatable = is_idempotent
        self._breaker = CircuitBreaker("sms")

    async def post(self, parcel: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool]) -> None:
        """Post it once successfully. Raises NotSent."""
        if self._breaker.is_open:
            raise SendFailed(is_certain=True)
        fates: list[SendResult] = []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._post_with_retries(parcel, is_accepted, fates)
        except TimeoutError:
            fates.append(SendResult.UNKNOWN)
        if fates[-1] is not SendResult.SENT:
            failure = SendFailed(is_certain=SendResult.UNKNOWN not in fates)
            if fates[-1] is SendResult.REFUSED:
                self._breaker.record_success()
            else:
                self._breaker.record_failure(failure)
            raise failure
        self._breaker.record_success()

    async def _post_with_retries(
        self, parcel: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool], fates: list[SendResult]
    ) -> None:
        again = {SendResult.NOT_REACHED, *([SendResult.UNKNOWN] if self._is_repeatable else [])}
        for pause in (0, *RETRY_DELAYS):
            await asyncio.sleep(pause)
            fates.append(await self._post_once(parcel, is_accepted))
            if fates[-1] not in again:
                break

    async def _post_once(self, parcel: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool]) -> SendResult:
        try:
            answer = await http_post(parcel, self._timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return SendResult.NOT_REACHED
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            log.warning("code not sent", error=type(problem).__name__)
            return SendResult.UNKNOWN
        if is_accepted(answer):
            return SendResult.SENT
        code = answer.body.get("code")
        log.warning("code not sent", status=answer.status, error_code=code if isinstance(code, int) else None)
        return _RESULT_BY_STATUS.get(
            answer.status, SendResult.REFUSED if 400 <= answer.status < 500 else SendResult.UNKNOWN
        )


async def http_post(parcel: GatewayRequest, timeout: aiohttp.ClientTimeout) -> GatewayResponse:
    """One POST and the answer to it. Raises what aiohttp raises, and ValueError for what is no HTTP URL."""
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
        http.post(parcel.url, data=parcel.body, headers=dict(parcel.headers), allow_redirects=False) as response,
    ):
        content = await response.content.read(_ANSWER_BYTES)
        return GatewayResponse(response.status, _json_object(content))


def _json_object(content: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
