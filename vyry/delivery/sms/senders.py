"""Senders of one-time codes: console and file (both for development), the operator's webhook, a carrier.

No sender logs a code, a phone number or the gateway's URL; no error contains one.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from vyry.accounts.otp import OtpMessage, OtpSender, SendFailed
from vyry.clock import Clock
from vyry.delivery.gateway import Gateway, GatewayResponse
from vyry.delivery.sms.carriers import CarrierAccount, TwilioSender, VonageSender
from vyry.delivery.webhook_signing import signed_request, webhook_key


#: Three attempts of 2.5 s and the delays between them stay below 10 s.
TRY_SECONDS: Final = 2.5


class ConsoleSender:
    """Prints codes on standard output."""

    async def send(self, message: OtpMessage) -> None:
        try:
            sys.stdout.write(f"\n  code for {message.number.e164} ({message.purpose.value}): {message.otp}\n\n")
            sys.stdout.flush()
        except OSError as problem:
            raise SendFailed(is_certain=True) from problem


class FileSender:
    """Appends each code as a JSON line to a file that only its owner may read."""

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
    """Posts codes to the operator's gateway.

    The body is JSON {phoneNumber, otp, purpose, at, channel, id}; `Vyry-Timestamp` has seconds since 1970, `Vyry-Signature` is "v1=" and the hex HMAC-SHA-256 of
    timestamp, ".", body under the node's webhook key. A retry has the same id, so the gateway can recognise it.
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


@dataclass(frozen=True, slots=True)
class SenderSecrets:
    """The node's secret (signs webhooks), the secret of the carrier account, and the carrier's URL if it is not the default."""

    jwt_secret: bytes = field(repr=False)
    secret: str = field(default="", repr=False)
    url: str = ""


def open_sender(setting: str, keys: SenderSecrets, clock: Clock) -> OtpSender:
    """The sender of a VYRY_SMS value: console, file:PATH, webhook:URL, twilio:ACCOUNT@FROM or vonage:APPLICATION@FROM."""
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
