"""Wake-ups by Firebase Cloud Messaging, HTTP v1: a service account's signature is exchanged for a token, and each wake-up is a message without content."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import jwt
import orjson

from vyry.clock import Clock
from vyry.delivery.gateway import CircuitBreaker
from vyry.delivery.push.web_push import parse_retry_after
from vyry.devices.push import PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult
from vyry.kernel.time import to_milliseconds


FCM_URL: Final = "https://fcm.googleapis.com"
TRY_SECONDS: Final = 10.0
#: While nothing gets through.
_PAUSE_SECONDS: Final = 3.0
_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_SECONDS: Final = 3600
#: A token is renewed so long before its end.
_MARGIN_SECONDS: Final = 120.0
_TTL: Final = f"{28 * 86_400}s"
_ANSWER_BYTES: Final = 64 << 10
#: The app was removed, or the token is none; all else in the message is always the same, so an argument that is wrong is the token.
_GONE_CODES: Final = frozenset({"UNREGISTERED", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH"})


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What Google's JSON file of a service account says, as far as it is needed."""

    project: str
    email: str
    token_url: str
    key_id: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, content: bytes) -> "ServiceAccount":
        """Raises ValueError for what is no such file."""
        try:
            said = orjson.loads(content)
            names = ("project_id", "client_email", "token_uri", "private_key_id", "private_key")
            values = [said[name] for name in names]
        except (KeyError, TypeError):
            raise ValueError("no service account") from None
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError("no service account")
        return cls(*values)


class FcmPusher:
    """Carries to Android, and to whatever else has FCM tokens."""

    def __init__(self, account: ServiceAccount, clock: Clock, url: str = FCM_URL) -> None:
        self._account = account
        self._clock = clock
        self._url = f"{url}/v1/projects/{account.project}/messages:send"
        self._breaker = CircuitBreaker("fcm")
        self._session: aiohttp.ClientSession | None = None
        self._signing = asyncio.Lock()
        self._bearer, self._good_until = "", 0.0

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        if self._breaker.is_open:
            return PushOutcome(PushResult.CLOSED, _PAUSE_SECONDS)
        try:
            answer = await self._send(target, is_urgent=is_urgent)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            self._breaker.record_failure(problem)
            return PushOutcome(PushResult.LATER)
        if answer.result is PushResult.LATER:
            self._breaker.record_failure(RuntimeError("told to come again"))
        else:
            self._breaker.record_success()
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        android = {"priority": "HIGH" if is_urgent else "NORMAL", "ttl": _TTL, "collapse_key": "mail"}
        message = {"token": target.token, "data": {"wake": "1"}, "android": android}
        headers = {"Authorization": f"Bearer {await self._token()}", "Content-Type": "application/json"}
        body = orjson.dumps({"message": message})
        async with self._http().post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
            said = await answer.content.read(_ANSWER_BYTES)
            if answer.status == 401:
                # Perhaps it was withdrawn; the next one is fetched anew.
                self._good_until = 0.0
            return self._outcome(answer.status, answer.headers, said)

    def _outcome(self, status: int, headers: Mapping[str, str], said: bytes) -> PushOutcome:
        if status == 200:
            return PushOutcome(PushResult.SENT)
        if status in (400, 403, 404) and _error_codes(said) & _GONE_CODES:
            return PushOutcome(PushResult.GONE)
        # An account that is not let in, a project that is no more: wake-ups wait until the operator has mended that.
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
        async with self._http().post(account.token_url, data=form, allow_redirects=False) as answer:
            said = orjson.loads(await answer.content.read(_ANSWER_BYTES))
        if not isinstance(said, dict) or not isinstance(said.get("access_token"), str):
            raise ValueError("no token given")  # noqa: TRY004  whatever was answered
        return said["access_token"], float(said.get("expires_in", _TOKEN_SECONDS))

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TRY_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session


def _error_codes(said: bytes) -> set[object]:
    """The error codes that an answer names: FCM's own in the details, Google's status beside them."""
    try:
        error = orjson.loads(said)["error"]
        return {error.get("status"), *(each.get("errorCode") for each in error.get("details", ()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
