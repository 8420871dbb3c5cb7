"""POST requests to an SMS gateway: timeout, retries, circuit breaker. Afterwards the caller knows whether the message was sent.

No redirect is followed and no proxy of the environment is used. The log has the status and the gateway's error number, never an address, a body or a secret.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import aiohttp
import orjson

from vyry.accounts.otp import SendFailed
from vyry.delivery.circuit_breaker import CircuitBreaker
from vyry.kernel.http_bodies import read_at_most
from vyry.telemetry import log


#: For all attempts and the delays between them.
DEADLINE_SECONDS: Final = 9.5
RETRY_DELAYS: Final = (0.2, 0.8)
#: How much of a response is read.
MAX_RESPONSE_BYTES: Final = 64 << 10


class SendResult(Enum):
    """The result of one request."""

    SENT = "sent"
    #: Certainly not sent: no connection, or the gateway asked to retry later.
    NOT_REACHED = "not reached"
    #: Certainly not sent, and a retry would not help.
    REFUSED = "refused"
    #: The gateway rejects the node's credentials, so it rejects every message.
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
    """The response of a service; `body` is empty if it is no JSON object."""

    status: int
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """A POST request: the body, and headers with its media type."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Gateway:
    """A service that sends messages. `is_idempotent`: it recognises a message that it has accepted before, so a request without a response may be repeated."""

    def __init__(self, try_seconds: float, *, is_idempotent: bool) -> None:
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)
        self._is_idempotent = is_idempotent
        self._breaker = CircuitBreaker("sms")

    async def post(self, request: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool]) -> None:
        """Returns when the gateway has accepted the message. Raises SendFailed."""
        if not self._breaker.admit_call():
            raise SendFailed(is_certain=True)
        results: list[SendResult] = []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._post_with_retries(request, is_accepted, results)
        except TimeoutError:
            results.append(SendResult.UNKNOWN)
        if results[-1] is not SendResult.SENT:
            failure = SendFailed(is_certain=SendResult.UNKNOWN not in results)
            if results[-1] is SendResult.REFUSED:
                self._breaker.record_success()
            else:
                self._breaker.record_failure(failure)
            raise failure
        self._breaker.record_success()

    async def _post_with_retries(
        self, request: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool], results: list[SendResult]
    ) -> None:
        again = {SendResult.NOT_REACHED, *([SendResult.UNKNOWN] if self._is_idempotent else [])}
        for pause in (0, *RETRY_DELAYS):
            await asyncio.sleep(pause)
            results.append(await self._post_once(request, is_accepted))
            if results[-1] not in again:
                break

    async def _post_once(self, request: GatewayRequest, is_accepted: Callable[[GatewayResponse], bool]) -> SendResult:
        try:
            answer = await http_post(request, self._timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return SendResult.NOT_REACHED
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            log.warning("otp_send_failed", error=type(problem).__name__)
            return SendResult.UNKNOWN
        if is_accepted(answer):
            return SendResult.SENT
        code = answer.body.get("code")
        log.warning("otp_send_failed", status=answer.status, error_code=code if isinstance(code, int) else None)
        return _RESULT_BY_STATUS.get(
            answer.status, SendResult.REFUSED if 400 <= answer.status < 500 else SendResult.UNKNOWN
        )


async def http_post(request: GatewayRequest, timeout: aiohttp.ClientTimeout) -> GatewayResponse:
    """Send one POST request. A body that is no JSON object becomes an empty one. Raises what aiohttp raises, and ValueError for a URL that is not HTTP."""
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
        http.post(request.url, data=request.body, headers=dict(request.headers), allow_redirects=False) as response,
    ):
        content = await read_at_most(response.content, MAX_RESPONSE_BYTES)
        return GatewayResponse(response.status, _json_object(content))


def _json_object(content: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
