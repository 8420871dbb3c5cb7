"""How one-time codes reach people: on the console, in a file (both for development), by an operator's gateway, by a carrier.

No sender logs a code or a number; an error names neither, nor the gateway's URL.
"""

import asyncio
import hmac
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from vyry.accounts.otp import OtpMessage, OtpSender, SendFailed
from vyry.clock import Clock
from vyry.delivery.gateway import Gateway, GatewayRequest, GatewayResponse
from vyry.delivery.sms.carriers import CarrierAccount, TwilioSender, VonageSender
from vyry.kernel.time import to_milliseconds


#: Three tries of 2.5 s and the pauses between them stay below 10 s.
TRY_SECONDS: Final = 2.5
SIGNATURE_HEADER: Final = "Vyry-Signature"
TIMESTAMP_HEADER: Final = "Vyry-Timestamp"


class ConsoleSender:
    """Shows codes on standard output."""

    async def send(self, message: OtpMessage) -> None:
        try:
            sys.stdout.write(f"\n  code for {message.number.e164} ({message.purpose.value}): {message.otp}\n\n")
            sys.stdout.flush()
        except OSError as problem:
            # Closed, full, or cut off: nobody has seen the code.
            raise SendFailed(is_certain=True) from problem


class FileSender:
    """Appends one JSON line a code to a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, message: OtpMessage) -> None:
        line = orjson.dumps(_message_fields(message), option=orjson.OPT_APPEND_NEWLINE)
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise SendFailed(is_certain=True) from error

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
        self._gateway = Gateway(try_seconds, is_idempotent=True)

    async def send(self, message: OtpMessage) -> None:
        body = orjson.dumps(
            {**_message_fields(message), "channel": message.channel.value, "id": str(message.message_id)}
        )
        await self._gateway.post(signed_request(self._url, self._key, self._clock, body), _is_success)


def signed_request(url: str, key: bytes, clock: Clock, body: bytes) -> GatewayRequest:
    """A JSON body as every webhook of the node gets it."""
    timestamp = str(to_milliseconds(clock.now()) // 1000)
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"v1={webhook_signature(key, timestamp, body)}",
    }
    return GatewayRequest(url, body, headers)


def webhook_signature(key: bytes, timestamp: str, body: bytes) -> str:
    """The hex signature over a timestamp and a body."""
    return hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def webhook_key(jwt_secret: bytes) -> bytes:
    """The key gateways verify with: derived, so that no further secret must be kept, and of no use for tokens."""
    return hmac.digest(jwt_secret, b"vyry sms webhook 1", "sha256")


@dataclass(frozen=True, slots=True)
class SenderSecrets:
    """What a sender signs or signs in with: the secret of the node, and that of an account with a carrier; `url` is its address if it is not its own."""

    jwt_secret: bytes = field(repr=False)
    secret: str = field(default="", repr=False)
    url: str = ""


def open_sender(setting: str, keys: SenderSecrets, clock: Clock) -> OtpSender:
    """The sender that a value of VYRY_SMS names: console, file:PATH, webhook:URL, twilio:ACCOUNT@FROM or vonage:APPLICATION@FROM."""
    kind, _, target = setting.partition(":")
    name, _, sender = target.partition("@")
    account = CarrierAccount(name, sender, keys.secret, keys.url)
    senders: Mapping[str, Callable[[], OtpSender]] = {
        "console": ConsoleSender,
        "file": lambda: FileSender(Path(target)),
        "webhook": lambda: WebhookSender(target, webhook_key(keys.jwt_secret), clock),
        "twilio": lambda: TwilioSender(account),
        "vonage": lambda: VonageSender(account, clock),
    }
    return senders[kind]()


def _is_success(answer: GatewayResponse) -> bool:
    return 200 <= answer.status < 300


def _message_fields(message: OtpMessage) -> dict[str, object]:
    at = message.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"phoneNumber": message.number.e164, "otp": message.otp, "purpose": message.purpose.value, "at": at}
