"""Wakeups by Firebase Cloud Messaging, HTTP v1: a signature of the service account is exchanged for an access token; a wakeup is a message without content."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import aiohttp
import jwt
import orjson

from vyry.clock import Clock
from vyry.delivery.circuit_breaker import CircuitBreaker
from vyry.delivery.gateway import MAX_RESPONSE_BYTES
from vyry.delivery.push.outcome import TRY_SECONDS, parse_retry_after, push_guarded
from vyry.devices.push import PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult
from vyry.kernel.http_bodies import read_at_most
from vyry.kernel.time import to_milliseconds


FCM_URL: Final = "https://fcm.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_SECONDS: Final = 3600
#: A token is renewed so long before it expires.
_MARGIN_SECONDS: Final = 120.0
_TTL: Final = f"{28 * 86_400}s"
#: The app was removed, or the token is malformed: the rest of the message is constant, so an invalid argument can only be the token.
_GONE_CODES: Final = frozenset({"UNREGISTERED", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH"})


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The fields that are needed of Google's JSON file of a service account."""

    project: str
    email: str
    token_url: str
    key_id: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, content: bytes) -> "ServiceAccount":
        """Parse the file. Raises ValueError."""
        try:
            fields = orjson.loads(content)
            names = ("project_id", "client_email", "token_uri", "private_key_id", "private_key")
            values = [fields[name] for name in names]
        except (KeyError, TypeError):
            raise ValueError("no service account") from None
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError("no service account")
        return cls(*values)


class FcmPusher:
    """Sends wakeups to Android, and to other apps with FCM tokens."""

    def __init__(self, account: ServiceAccount, clock: Clock, url: str = FCM_URL) -> None:
        self._account = account
        self._clock = clock
        self._url = f"{url}/v1/projects/{account.project}/messages:send"
        self._breaker = CircuitBreaker("fcm")
        self._session: aiohttp.ClientSession | None = None
        self._signing = asyncio.Lock()
        self._bearer, self._good_until = "", 0.0

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        return await push_guarded(
            self._breaker,
            lambda: self._send(target, is_urgent=is_urgent),
            (aiohttp.ClientError, OSError, TimeoutError, ValueError),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        android = {"priority": "HIGH" if is_urgent else "NORMAL", "ttl": _TTL, "collapse_key": "mail"}
        message = {"token": target.token, "data": {"wake": "1"}, "android": android}
        headers = {"Authorization": f"Bearer {await self._token()}", "Content-Type": "application/json"}
        content = orjson.dumps({"message": message})
        async with self._http().post(self._url, data=content, headers=headers, allow_redirects=False) as response:
            body = await read_at_most(response.content, MAX_RESPONSE_BYTES)
            if response.status == 401:
                # The token may have been revoked: the next push fetches another.
                self._good_until = 0.0
            return replace(self._outcome(response.status, response.headers, body), status=response.status)

    def _outcome(self, status: int, headers: Mapping[str, str], body: bytes) -> PushOutcome:
        if status == 200:
            return PushOutcome(PushResult.SENT)
        if status in (400, 403, 404) and _error_codes(body) & _GONE_CODES:
            return PushOutcome(PushResult.GONE)
        # The service account may be rejected, or the project deleted: wakeups wait until the operator has corrected that.
        return PushOutcome(PushResult.LATER, parse_retry_after(headers.get("Retry-After", ""), self._clock))

    async def _token(self) -> str:
        async with self._signing:
            if time.monotonic() >= self._good_until:
                self._bearer, life = await self._exchange()
                self._good_until = time.monotonic() + life - _MARGIN_SECONDS
            return self._bearer

    async def _exchange(self) -> tuple[str, float]:
        account, now = self._account, to_milliseconds(self._clock.now()) // 1000
        claims = {
            "iss": account.email,
            "scope": _SCOPE,
            "aud": account.token_url,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
        }
        signed = jwt.encode(claims, account.key, algorithm="RS256", headers={"kid": account.key_id})
        form = {"grant_type": _GRANT, "assertion": signed}
        async with self._http().post(account.token_url, data=form, allow_redirects=False) as response:
            body = orjson.loads(await read_at_most(response.content, MAX_RESPONSE_BYTES))
        if not isinstance(body, dict) or not isinstance(body.get("access_token"), str):
            raise ValueError("the response has no token")  # noqa: TRY004  as for any other response
        return body["access_token"], float(body.get("expires_in", _TOKEN_SECONDS))

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TRY_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session


def _error_codes(body: bytes) -> set[object]:
    """The error codes of a response: FCM's own in the details, and Google's status."""
    try:
        error = orjson.loads(body)["error"]
        return {error.get("status"), *(each.get("errorCode") for each in error.get("details", ()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
