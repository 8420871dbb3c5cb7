"""Wakeups by Apple's push service: HTTP/2 only, one connection for all, and a provider token that is renewed twice an hour."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import httpx2
import jwt
import orjson

from vyry.clock import Clock
from vyry.delivery.circuit_breaker import CircuitBreaker
from vyry.delivery.push.outcome import TRY_SECONDS, parse_retry_after, push_guarded
from vyry.devices.push import PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult
from vyry.kernel.time import to_milliseconds


APNS_URL: Final = "https://api.push.apple.com"
#: Apple refuses tokens older than an hour, and more than one in twenty minutes.
_TOKEN_SECONDS: Final = 1800
_LIFE_SECONDS: Final = 28 * 86_400
#: A notification service extension of the app replaces this text when it has fetched the mail.
_ALERT: Final = orjson.dumps(
    {"aps": {"alert": {"body": "You may have new messages"}, "mutable-content": 1, "sound": "default"}}
)
_BACKGROUND: Final = orjson.dumps({"aps": {"content-available": 1}})
_GONE_REASONS: Final = frozenset(
    {"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken", "TopicDisallowed", "BadTopic"}
)
#: The provider token is wrong, or the key that signed it: the operator must act, the push target is good.
_AUTH_STATUSES: Final = (403, 405)


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """A key of an Apple developer team for push."""

    key_id: str
    team_id: str
    pem: str = field(repr=False)


class ApnsPusher:
    """Sends wakeups to Apple's devices."""

    def __init__(self, key: ApnsKey, clock: Clock, url: str = APNS_URL, tls: ssl.SSLContext | None = None) -> None:
        self._key = key
        self._clock = clock
        self._url = url
        self._tls = tls
        self._breaker = CircuitBreaker("apns")
        self._client: httpx2.AsyncClient | None = None
        self._token, self._signed_at = "", 0

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        if not re.fullmatch("[0-9a-fA-F]+", target.token or ""):
            # Stored before tokens were validated; it would become part of the path.
            return PushOutcome(PushResult.GONE)
        return await push_guarded(
            self._breaker,
            lambda: self._send(target, is_urgent=is_urgent),
            (httpx2.HTTPError, OSError, TimeoutError),
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        async with asyncio.timeout(TRY_SECONDS):
            response = await self._http().post(
                f"/3/device/{target.token}",
                content=_ALERT if is_urgent else _BACKGROUND,
                headers=self._headers(target, is_urgent=is_urgent),
            )
        return replace(self._outcome(response), status=response.status_code)

    def _headers(self, target: PushTarget, *, is_urgent: bool) -> Mapping[str, str]:
        now = to_milliseconds(self._clock.now()) // 1000
        if not self._signed_at <= now < self._signed_at + _TOKEN_SECONDS:
            claims, headers = {"iss": self._key.team_id, "iat": now}, {"kid": self._key.key_id}
            self._token = jwt.encode(claims, self._key.pem, algorithm="ES256", headers=headers)
            self._signed_at = now
        return {
            "authorization": f"bearer {self._token}",
            "apns-topic": target.topic or "",
            "apns-push-type": "alert" if is_urgent else "background",
            "apns-priority": "10" if is_urgent else "5",
            "apns-expiration": str(now + _LIFE_SECONDS),
            "apns-collapse-id": "mail",
        }

    def _outcome(self, answer: httpx2.Response) -> PushOutcome:
        if answer.status_code == 200:
            return PushOutcome(PushResult.SENT)
        reason = _reason(answer)
        if answer.status_code == 410 or (answer.status_code == 400 and reason in _GONE_REASONS):
            return PushOutcome(PushResult.GONE)
        if answer.status_code in _AUTH_STATUSES and reason == "ExpiredProviderToken":
            self._signed_at = 0
        if answer.status_code in (*_AUTH_STATUSES, 429) or answer.status_code >= 500:
            return PushOutcome(PushResult.LATER, parse_retry_after(answer.headers.get("Retry-After", ""), self._clock))
        return PushOutcome(PushResult.REFUSED)

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            # Apple treats many connections as an attack.
            limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
            self._client = httpx2.AsyncClient(
                base_url=self._url,
                http1=False,
                http2=True,
                limits=limits,
                timeout=httpx2.Timeout(TRY_SECONDS),
                trust_env=False,
                follow_redirects=False,
                verify=self._tls or ssl.create_default_context(),
            )
        return self._client


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(orjson.loads(answer.content)["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
