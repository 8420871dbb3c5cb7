"""Senders of codes over the HTTP APIs of Twilio (Messages, Calls) and Vonage (Messages v1, Voice v1), as texts and as voice calls.

Neither API recognises a repeated message, so a message is sent again only if it was certainly not accepted.
"""

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import jwt
import orjson

from vyry.accounts.otp import Channel, OtpMessage, SendFailed
from vyry.accounts.phone import PhoneNumber
from vyry.clock import Clock
from vyry.delivery.gateway import Gateway, GatewayRequest, GatewayResponse
from vyry.kernel.time import to_milliseconds


TRY_SECONDS: Final = 6.0
TWILIO_URL: Final = "https://api.twilio.com"
VONAGE_URL: Final = "https://api.nexmo.com"
_TOKEN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class CarrierAccount:
    """An account with a carrier: id, sender, secret, and the URL of the API if it is not the default."""

    id: str
    sender: str
    secret: str = field(repr=False)
    url: str = ""


class TwilioSender:
    """Sends over Twilio. The secret is the auth token, or SID:SECRET of an API key; the sender is a number, a name, or a service (MG...)."""

    def __init__(self, account: CarrierAccount, try_seconds: float = TRY_SECONDS) -> None:
        self._account = f"{account.url or TWILIO_URL}/2010-04-01/Accounts/{account.id}"
        self._sender = account.sender
        login = account.secret if ":" in account.secret else f"{account.id}:{account.secret}"
        self._login = base64.b64encode(login.encode()).decode()
        self._gateway = Gateway(try_seconds, is_idempotent=False)

    async def send(self, message: OtpMessage) -> None:
        if message.channel is Channel.VOICE:
            _check_can_call(self._sender)
            fields = {"From": self._sender, "Twiml": f"<Response><Say>{voice_text(message.otp)}</Say></Response>"}
            await self._post("Calls", message.number, fields)
        else:
            by = "MessagingServiceSid" if self._sender.startswith("MG") else "From"
            await self._post("Messages", message.number, {by: self._sender, "Body": sms_text(message.otp)})

    async def _post(self, resource: str, number: PhoneNumber, fields: Mapping[str, str]) -> None:
        headers = {"Authorization": f"Basic {self._login}", "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"To": number.e164, **fields}).encode()
        await self._gateway.post(GatewayRequest(f"{self._account}/{resource}.json", body, headers), _is_created)


class VonageSender:
    """Sends over a Vonage application. The secret is the private key (PEM) that signs the token of each request."""

    def __init__(self, account: CarrierAccount, clock: Clock, try_seconds: float = TRY_SECONDS) -> None:
        self._url = account.url or VONAGE_URL
        self._application = account.id
        self._sender = account.sender.removeprefix("+")
        self._secret = account.secret
        self._clock = clock
        self._gateway = Gateway(try_seconds, is_idempotent=False)

    async def send(self, message: OtpMessage) -> None:
        to = message.number.e164.removeprefix("+")
        if message.channel is Channel.VOICE:
            _check_can_call(self._sender)
            spoken_once = {"action": "talk", "text": voice_text(message.otp)}
            people = {"to": [{"type": "phone", "number": to}], "from": {"type": "phone", "number": self._sender}}
            await self._gateway.post(self._signed_request("calls", {**people, "ncco": [spoken_once]}), _is_call_started)
        else:
            sms = {
                "channel": "sms",
                "message_type": "text",
                "to": to,
                "from": self._sender,
                "text": sms_text(message.otp),
            }
            await self._gateway.post(self._signed_request("messages", sms), _is_accepted)

    def _signed_request(self, resource: str, body: object) -> GatewayRequest:
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        return GatewayRequest(f"{self._url}/v1/{resource}", orjson.dumps(body), headers)

    def _token(self) -> str:
        now = to_milliseconds(self._clock.now()) // 1000
        claims = {
            "application_id": self._application,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._secret, algorithm="RS256")


def sms_text(otp: str) -> str:
    """The text message."""
    return f"Your Vyry code is {otp}. It is good for 3 minutes. Do not give it to anyone."


def voice_text(otp: str) -> str:
    """The text of a voice call: the digits one by one, twice."""
    digits = ", ".join(otp)
    return f"Your Vyry code is: {digits}. Once more: {digits}. Do not give it to anyone."


def _check_can_call(sender: str) -> None:
    """Raises SendFailed unless the sender is a number: only a number can call."""
    if not sender.removeprefix("+").isdigit():
        raise SendFailed(is_certain=True)


def _is_created(answer: GatewayResponse) -> bool:
    return answer.status == 201 and isinstance(answer.body.get("sid"), str) and answer.body.get("error_code") is None


def _is_accepted(answer: GatewayResponse) -> bool:
    return answer.status == 202 and isinstance(answer.body.get("message_uuid"), str)


def _is_call_started(answer: GatewayResponse) -> bool:
    return answer.status == 201 and isinstance(answer.body.get("uuid"), str)
