"""Credentials for the operator's TURN server, which relays calls between networks that let no other way through.

The scheme is coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00, section 2.2): the server checks them with the same secret and asks nobody.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from vyry.kernel.ids import UserId


@dataclass(frozen=True, slots=True)
class IceServer:
    """What a client gives to its WebRTC library, as RTCIceServer has it."""

    urls: tuple[str, ...]
    username: str
    credential: str


class TurnCredentials:
    """Makes credentials that are good for a while."""

    def __init__(self, urls: Sequence[str], secret: bytes, seconds: int) -> None:
        self._urls = tuple(urls)
        self._secret = secret
        self._seconds = seconds

    def ice_servers(self, user_id: UserId, now: datetime) -> list[IceServer]:
        """For this caller, until `seconds` from now; none where the operator runs no TURN server.

        The name holds no user id: a relay must not learn who calls. Whoever has the secret can tell whether a name is a certain account's.
        """
        if not self._urls:
            return []
        ends = str(round(now.timestamp()) + self._seconds)
        whose = hmac.digest(self._secret, f"{ends}:{user_id}".encode(), "sha256").hex()[:16]
        username = f"{ends}:{whose}"
        # SHA-1 is what TURN's REST scheme is defined with; as a MAC it is unbroken.
        credential = base64.b64encode(hmac.digest(self._secret, username.encode(), "sha1")).decode()
        return [IceServer(self._urls, username, credential)]
