"""A sign-up guard that asks the operator's webhook, for example a captcha verifier."""

from typing import Final

import aiohttp
import orjson

from vyry.accounts.phone import PhoneNumber
from vyry.accounts.signup import invalid_proof
from vyry.clock import Clock
from vyry.delivery.gateway import http_post
from vyry.delivery.webhook_signing import signed_request
from vyry.errors import Unavailable


TRY_SECONDS: Final = 5.0
#: Longer than any captcha's token.
MAX_PROOF_LENGTH: Final = 8192


class WebhookSignupGuard:
    """Posts {proof, address} to the webhook, signed like codes (webhook:URL of VYRY_SMS); 200 {"isPassed": true} passes. The webhook gets no phone number."""

    def __init__(self, url: str, key: bytes, clock: Clock, try_seconds: float = TRY_SECONDS) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the port's
        """Returns if the webhook accepts the proof. Raises Unavailable if it cannot be asked."""
        if not proof or len(proof) > MAX_PROOF_LENGTH:
            raise invalid_proof("is needed")
        try:
            body = orjson.dumps({"proof": proof, "address": address})
            answer = await http_post(signed_request(self._url, self._key, self._clock, body), self._timeout)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise Unavailable("The sign-up proof could not be verified.") from problem
        if answer.status != 200 or not isinstance(answer.body.get("isPassed"), bool):
            raise Unavailable("The sign-up proof could not be verified.")
        if not answer.body["isPassed"]:
            raise invalid_proof("is not good")
