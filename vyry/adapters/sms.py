"""How one-time codes reach people: on the console, in a file (both for development), or by an operator's gateway behind a signed webhook.

No sender logs a code or a number; an error names neither, nor the gateway's URL.
"""

import asyncio
import hmac
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from vyry.accounts.otp import NotSent, OtpMessage, OtpSender
from vyry.clock import Clock, milliseconds


#: Three tries of 2.5 s and the pauses between them stay below 10 s.
TRY_SECONDS: Final = 2.5
PAUSES: Final = (0.2, 0.8)
SIGNATURE_HEADER: Final = "Vyry-Signature"
TIMESTAMP_HEADER: Final = "Vyry-Timestamp"


class ConsoleSender:
    """Shows codes on standard output."""

    async def send(self, message: OtpMessage) -> None:
        sys.stdout.write(f"\n  code for {message.number.e164} ({message.purpose.value}): {message.otp}\n\n")
        sys.stdout.flush()


class FileSender:
    """Appends one JSON line a code to a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, message: OtpMessage) -> None:
        line = orjson.dumps(_body(message), option=orjson.OPT_APPEND_NEWLINE)
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise NotSent(is_certain=True) from error

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class WebhookSender:
    """Posts codes to a gateway.

    The body is JSON {phoneNumber, otp, purpose, at, channel, id}; `Vyry-Timestamp` has seconds since 1970, `Vyry-Signature` is "v1=" and the hex HMAC-SHA-256 of
    timestamp, ".", body under the node's webhook key. A repeated try carries the same id, so a gateway can drop what it has sent.
    """

    def __init__(self, url: str, key: bytes, clock: Clock, try_seconds: float = TRY_SECONDS) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)

    async def send(self, message: OtpMessage) -> None:
        body = orjson.dumps({**_body(message), "channel": message.channel.value, "id": str(message.message_id)})
        async with aiohttp.ClientSession(timeout=self._timeout) as http:
            for pause in (*PAUSES, None):
                status = await self._post(http, body)
                if 200 <= status < 300:
                    return
                # What the gateway refuses it will refuse again; what broke may work in a moment.
                if pause is None or (400 <= status < 500 and status != 429):
                    break
                await asyncio.sleep(pause)
        raise NotSent(is_certain=False)

    async def _post(self, http: aiohttp.ClientSession, body: bytes) -> int:
        """The gateway's status, or 0 if it could not be reached."""
        timestamp = str(milliseconds(self._clock.now()) // 1000)
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: f"v1={sign(self._key, timestamp, body)}",
        }
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status
        return 0


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """The hex signature over a timestamp and a body."""
    return hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def webhook_key(jwt_secret: bytes) -> bytes:
    """The key gateways verify with: derived, so that no further secret must be kept, and of no use for tokens."""
    return hmac.digest(jwt_secret, b"vyry sms webhook 1", "sha256")


def open_sender(setting: str, jwt_secret: bytes, clock: Clock) -> OtpSender:
    """The sender that a value of VYRY_SMS names: console, file:PATH or webhook:URL."""
    kind, _, target = setting.partition(":")
    match kind:
        case "file":
            return FileSender(Path(target))
        case "webhook":
            return WebhookSender(target, webhook_key(jwt_secret), clock)
        case _:
            return ConsoleSender()


def _body(message: OtpMessage) -> dict[str, object]:
    at = message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"phoneNumber": message.number.e164, "otp": message.otp, "purpose": message.purpose.value, "at": at}
