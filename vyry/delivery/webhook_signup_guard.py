"""The door whose proofs another service judges: a captcha's, or whatever the operator likes, behind a signed webhook."""

from typing import Final

import aiohttp
import orjson

from vyry.accounts.phone import PhoneNumber
from vyry.accounts.signup_guard import invalid_proof
from vyry.clock import Clock
from vyry.delivery.gateway import http_post
from vyry.delivery.sms.senders import signed_request
from vyry.errors import Unavailable


TRY_SECONDS: Final = 5.0
#: Longer than any captcha's token.
_LONGEST: Final = 8192


class WebhookSignupGuard:
    """Asks by a signed POST (as webhook:URL of VYRY_SMS) of {proof, address}; 200 {"isPassed": true} passes. It learns no number."""

    def __init__(self, url: str, key: bytes, clock: Clock, try_seconds: float = TRY_SECONDS) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the port's
        """Pass if the service says so."""
        if not proof or len(proof) > _LONGEST:
            raise invalid_proof("is needed")
        try:
            body = orjson.dumps({"proof": proof, "address": address})
            answer = await http_post(signed_request(self._url, self._key, self._clock, body), self._timeout)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise Unavailable("The proof cannot be judged.") from problem
        if answer.status != 200 or not isinstance(answer.body.get("isPassed"), bool):
            raise Unavailable("The proof cannot be judged.")
        if not answer.body["isPassed"]:
            raise invalid_proof("is not good")
