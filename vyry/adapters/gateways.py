"""One POST to somebody else's HTTP service, so that it is known afterwards whether a message is on its way: time-out, careful repetition, circuit breaker.

No redirect is followed and no proxy of the environment is used. What is logged is a status and a number for the error, never an address, a body or a secret.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import aiohttp
import orjson

from vyry.accounts.otp import NotSent
from vyry.outage import Outage
from vyry.telemetry import log


#: All tries and the pauses between them.
DEADLINE_SECONDS: Final = 9.5
PAUSES: Final = (0.2, 0.8)
#: After so many failures in a row nothing is tried for a while.
_FAILURES: Final = 3
_ANSWER_BYTES: Final = 64 << 10


class Fate(Enum):
    """What became of one try."""

    SENT = "sent"
    #: Surely not sent: no connection, or told to come again.
    NOT_REACHED = "not reached"
    #: Surely not sent, and it will not be.
    REFUSED = "refused"
    #: Nor will any other: the node's account is not let in.
    BARRED = "barred"
    UNCLEAR = "unclear"


_FATES: Final = {401: Fate.BARRED, 403: Fate.BARRED, 408: Fate.UNCLEAR, 429: Fate.NOT_REACHED}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said: `body` is its JSON object, empty if it was none."""

    status: int
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is posted: bytes of one media type, with further headers."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Breaker:
    """Keeps off a service that fails: the line closes after three failures in a row, then lets one try through at a time, ever more seldom up to 30 s."""

    def __init__(self, name: str) -> None:
        self._outage = Outage(name, first_seconds=1, longest_seconds=30)
        self._failures = 0
        self._closed_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether nothing is to be tried now; a caller that is let through a closed line is the only one until it is back."""
        now = time.monotonic()
        if now < self._closed_until:
            return True
        if self._failures >= _FAILURES:
            self._closed_until = now + DEADLINE_SECONDS
        return False

    def failed(self, problem: Exception) -> None:
        """The service did not do what it is there for."""
        self._failures += 1
        if self._failures >= _FAILURES:
            self._closed_until = time.monotonic() + self._outage.failed(problem)

    def worked(self) -> None:
        """It answered as it should, if only to refuse."""
        self._failures, self._closed_until = 0, 0.0
        self._outage.over()


class Gateway:
    """A service that takes messages. `is_repeatable`: it knows a message it has taken already, so one may be sent again whose fate is unclear."""

    def __init__(self, try_seconds: float, *, is_repeatable: bool) -> None:
        self._timeout = aiohttp.ClientTimeout(total=try_seconds)
        self._is_repeatable = is_repeatable
        self._breaker = Breaker("sms")

    async def post(self, parcel: Parcel, is_taken: Callable[[Answer], bool]) -> None:
        """Post it once successfully. Raises NotSent."""
        if self._breaker.is_closed:
            raise NotSent(is_certain=True)
        fates: list[Fate] = []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._try_often(parcel, is_taken, fates)
        except TimeoutError:
            fates.append(Fate.UNCLEAR)
        if fates[-1] is not Fate.SENT:
            failure = NotSent(is_certain=Fate.UNCLEAR not in fates)
            if fates[-1] is Fate.REFUSED:
                self._breaker.worked()
            else:
                self._breaker.failed(failure)
            raise failure
        self._breaker.worked()

    async def _try_often(self, parcel: Parcel, is_taken: Callable[[Answer], bool], fates: list[Fate]) -> None:
        again = {Fate.NOT_REACHED, *([Fate.UNCLEAR] if self._is_repeatable else [])}
        for pause in (0, *PAUSES):
            await asyncio.sleep(pause)
            fates.append(await self._try(parcel, is_taken))
            if fates[-1] not in again:
                break

    async def _try(self, parcel: Parcel, is_taken: Callable[[Answer], bool]) -> Fate:
        try:
            answer = await post(parcel, self._timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Fate.NOT_REACHED
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            log.warning("code not sent", error=type(problem).__name__)
            return Fate.UNCLEAR
        if is_taken(answer):
            return Fate.SENT
        code = answer.body.get("code")
        log.warning("code not sent", status=answer.status, error_code=code if isinstance(code, int) else None)
        return _FATES.get(answer.status, Fate.REFUSED if 400 <= answer.status < 500 else Fate.UNCLEAR)


async def post(parcel: Parcel, timeout: aiohttp.ClientTimeout) -> Answer:
    """One POST and the answer to it. Raises what aiohttp raises, and ValueError for what is no HTTP URL."""
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
        http.post(parcel.url, data=parcel.body, headers=dict(parcel.headers), allow_redirects=False) as response,
    ):
        content = await response.content.read(_ANSWER_BYTES)
        return Answer(response.status, _object(content))


def _object(content: bytes) -> Mapping[str, object]:
    try:
        found = orjson.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
