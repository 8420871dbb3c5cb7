"""The door whose proofs another service judges: a captcha's, or whatever the operator likes, behind a signed webhook."""

from typing import Final

import aiohttp
import orjson

from vyry.accounts.door import refused
from vyry.accounts.phone import PhoneNumber
from vyry.adapters.gateways import post
from vyry.adapters.sms import signed
from vyry.clock import Clock
from vyry.errors import Unavailable


TRY_SECONDS: Final = 5.0
#: Longer than any captcha's token.
_LONGEST: Final = 8192


class WebhookDoor:
    """Asks by a signed POST (as webhook:URL of VYRY_SMS) of {proof, address}; 200 {"isPassed": true} passes. It learns no number."""

    def __init__(self, url: str, key: bytes, clock: Clock, try_seconds: float = TRY_SECONDS) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)

    async def admit(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the port's
        """Pass if the service says so."""
        if not proof or len(proof) > _LONGEST:
            raise refused("is needed")
        try:
            body = orjson.dumps({"proof": proof, "address": address})
            answer = await post(signed(self._url, self._key, self._clock, body), self._timeout)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise Unavailable("The proof cannot be judged.") from problem
        if answer.status != 200 or not isinstance(answer.body.get("isPassed"), bool):
            raise Unavailable("The proof cannot be judged.")
        if not answer.body["isPassed"]:
            raise refused("is not good")
