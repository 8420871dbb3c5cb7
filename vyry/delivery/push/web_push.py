"""Wakeups by Web Push (RFC 8030, 8291, 8292) and by UnifiedPush, which is Web Push without keys. The content is always the same two bytes."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import aiohttp
from yarl import URL

from vyry.clock import Clock
from vyry.delivery.gateway import MAX_RESPONSE_BYTES
from vyry.delivery.push.host_throttle import HostThrottle
from vyry.delivery.push.outbound import public_only_session, trusted_session
from vyry.delivery.push.outcome import TRY_SECONDS, parse_retry_after
from vyry.delivery.push.web_push_crypto import VapidSigner, encrypt_push
from vyry.devices.endpoints import EndpointPolicy
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import PushOutcome, PushResult
from vyry.kernel.http_bodies import read_at_most


PUSH_BODY: Final = b"{}"
#: How long a push service keeps a wakeup: the longest life of mail, or less if the service says so. A newer one replaces it (RFC 8030 section 5.4).
_TTL_SECONDS: Final = 28 * 86_400
_TOPIC: Final = "mail"
_GONE_STATUSES: Final = (404, 410)
#: The service may accept the same request later.
_LATER: Final = (408, 413, 429)


class WebPusher:
    """Posts wakeups to the endpoints of devices: to public addresses, and to the hosts that the operator allows."""

    def __init__(self, vapid: VapidSigner | None, clock: Clock, policy: EndpointPolicy) -> None:
        self._vapid = vapid
        self._clock = clock
        self._policy = policy
        self._hosts = HostThrottle()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        if target.kind is PushKind.WEBPUSH and self._vapid is None:
            return PushOutcome(PushResult.REFUSED)
        url = URL(target.endpoint or "", encoded=True)
        host = f"{url.host}:{url.port}"
        if wait := self._hosts.wait_seconds(host):
            return PushOutcome(PushResult.BUSY, wait)
        headers, body = self._build_request(target, url, is_urgent=is_urgent)
        with self._hosts.track_request(host) as request:
            try:
                outcome = await self._post(url, headers, body)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                return PushOutcome(PushResult.LATER)
            request.has_succeeded = outcome.result is not PushResult.LATER
            return outcome

    async def close(self) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        self._sessions.clear()

    def _build_request(self, target: PushTarget, url: URL, *, is_urgent: bool) -> tuple[Mapping[str, str], bytes]:
        headers = {"TTL": str(_TTL_SECONDS), "Urgency": "high" if is_urgent else "low", "Topic": _TOPIC}
        if target.p256dh is None or target.auth is None or self._vapid is None:
            return headers | {"Content-Type": "application/json"}, PUSH_BODY
        headers |= {"Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream"}
        headers["Authorization"] = self._vapid.authorization(str(url.origin()))
        return headers, encrypt_push(PUSH_BODY, target.p256dh, target.auth)

    async def _post(self, url: URL, headers: Mapping[str, str], body: bytes) -> PushOutcome:
        session = self._session(url)
        async with session.post(url, data=body, headers=dict(headers), allow_redirects=False) as response:
            # Read, so that the connection can be used again; a longer response loses it.
            await read_at_most(response.content, MAX_RESPONSE_BYTES)
            return replace(outcome_of_status(response.status, response.headers, self._clock), status=response.status)

    def _session(self, url: URL) -> aiohttp.ClientSession:
        is_trusted = self._policy.allows(str(url.host), url.port)
        if is_trusted not in self._sessions:
            open_session = trusted_session if is_trusted else public_only_session
            self._sessions[is_trusted] = open_session(TRY_SECONDS)
        return self._sessions[is_trusted]


def outcome_of_status(status: int, headers: Mapping[str, str], clock: Clock) -> PushOutcome:
    """What a status of a Web Push service means."""
    if 200 <= status < 300:
        return PushOutcome(PushResult.SENT)
    if status in _GONE_STATUSES:
        return PushOutcome(PushResult.GONE)
    if status in _LATER or status >= 500:
        return PushOutcome(PushResult.LATER, parse_retry_after(headers.get("Retry-After", ""), clock))
    return PushOutcome(PushResult.REFUSED)
