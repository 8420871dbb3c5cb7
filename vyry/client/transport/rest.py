"""REST calls of a device: responses or clear errors, and tokens that renew themselves."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import orjson

from vyry.client.errors import NotRegistered, Refused, SessionEnded, Unreachable
from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.client.transport.validation import INVALID_SHAPE, read_int, read_object, read_text
from vyry.client.transport.waits import DEFAULT_WAITS, ProgressTimer, Waits


#: Seconds for which a connection may carry nothing, at most.
MAX_SILENCE_SECONDS: Final = 40.0
#: In the path of a long poll.
_LONG_POLL: Final = "?wait="
#: Characters of a token, at most.
MAX_TOKEN: Final = 4_096
_MAX_CURSOR: Final = 1_024
#: Rows of a list, at most.
_MAX_LISTED: Final = 100_000

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The session as it is stored. `attempt_id` names a renewal without a response so far: repeated, it is not a reuse."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    attempt_id: UUID | None = None


class RestClient:
    """Calls one node. Each call is made once; the caller decides about retries, because it owns the ids."""

    def __init__(self, http: aiohttp.ClientSession, url: str, store: Store, waits: Waits = DEFAULT_WAITS) -> None:
        self.http = http
        self.url = url.rstrip("/")
        self.waits: Final = waits
        #: Seconds for which a connection may carry nothing.
        self.silence_seconds: Final = min(waits.seconds or MAX_SILENCE_SECONDS, MAX_SILENCE_SECONDS)
        #: Advances with each completed call.
        self.progress: Final = ProgressTimer()
        self._store = store
        self._renew_lock = asyncio.Lock()

    async def call_unauthenticated(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Body:
        """A call without a token. Raises Refused, Unreachable."""
        data = None if body is None else orjson.dumps(body)
        all_headers = {**(headers or {}), **({"Content-Type": "application/json"} if data is not None else {})}
        try:
            with self._reporting_wait(path):
                async with (
                    asyncio.timeout(self.silence_seconds) as limit,
                    self.http.request(method, f"{self.url}/api/v1{path}", data=data, headers=all_headers) as response,
                ):
                    decoded = await self._read(response, limit)
        except (aiohttp.ClientError, OSError, TimeoutError, RecursionError, ValueError) as lost:
            raise Unreachable(f"Cannot reach {self.url} ({type(lost).__name__}).") from lost
        if response.status >= 500:
            wait = decoded.get("retry_after_seconds") if isinstance(decoded, dict) else None
            raise Unreachable(f"{self.url} is temporarily unavailable ({response.status}).", wait)
        if not isinstance(decoded, dict):
            raise Unreachable(f"{self.url} did not respond like a Vyry node ({response.status}). Check --url.")
        if response.status >= 400:
            raise Refused(response.status, decoded)
        self.progress.advance()
        found: Body = decoded
        return found

    def extend_timeout(self, limit: asyncio.Timeout) -> None:
        """The connection carried something: its silence is counted from now."""
        if not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + self.silence_seconds)

    def _reporting_wait(self, path: str) -> AbstractContextManager[None]:
        # A long poll is not reported as a wait.
        return (
            nullcontext() if _LONG_POLL in path else self.waits.reporting(lambda: f"{self.url} has not answered yet.")
        )

    async def _read(self, response: aiohttp.ClientResponse, limit: asyncio.Timeout) -> object:
        """The body of a response, however slow the line. Raises ValueError for invalid JSON."""
        data = bytearray()
        async for piece in response.content.iter_any():
            self.extend_timeout(limit)
            data += piece
        found: object = json.loads(data) if data.strip() else None
        return found

    async def call(self, method: str, path: str, body: object = None) -> Body:
        """A call of this device; an expired access token is renewed first. Raises Refused, Unreachable, NotRegistered, SessionEnded."""
        token = self.access_token()
        try:
            return await self.call_unauthenticated(method, path, body, _bearer(token))
        except Refused as refused:
            if refused.status != 401:
                raise
        return await self.call_unauthenticated(method, path, body, _bearer(await self.renew_token(token)))

    async def list_all(self, path: str, name: str) -> list[Body]:
        """All pages of a list. Raises as `call`."""
        found: list[Body] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.call(
                "GET", f"{path}{'&' if '?' in path else '?'}limit=100{cursor and '&cursor=' + cursor}"
            )
            with self.validated_response():
                found += map(read_object, page[name])
                cursor = page["nextCursor"] and read_text(page["nextCursor"], _MAX_CURSOR)
                read_int(len(found), most=_MAX_LISTED)
        return found

    @contextmanager
    def validated_response(self) -> Iterator[None]:
        """Around the reading of a response: one of another shape than docs/protocol.md raises Unreachable."""
        try:
            yield
        except INVALID_SHAPE as strange:
            raise Unreachable(
                f"{self.url} did not respond like a Vyry node ({type(strange).__name__}). Check --url."
            ) from strange

    def access_token(self) -> str:
        """The stored access token."""
        return self._load_tokens().access

    def save_tokens(self, session: Mapping[str, Any]) -> None:
        """Store the tokens of a session that the node has just issued. Raises Unreachable for invalid ones."""
        with self.validated_response():
            tokens = Tokens(_token(session["accessToken"]), _token(session["refreshToken"]))
        self._store.put(kinds.TOKENS, "", pack(tokens))

    async def renew_token(self, stale: str) -> str:
        """Another access token than this one. Raises SessionEnded, Unreachable."""
        async with self._renew_lock:
            tokens = self._load_tokens()
            if tokens.access != stale:
                return tokens.access
            attempt = replace(tokens, attempt_id=tokens.attempt_id or uuid4())
            self._store.put(kinds.TOKENS, "", pack(attempt))
            body = {"refreshToken": tokens.refresh, "attemptId": str(attempt.attempt_id)}
            try:
                session = await self.call_unauthenticated("POST", "/auth/refresh-token", body)
            except Refused as refused:
                if refused.status != 401:
                    # This decides nothing about the session: a rate limit, or an error of the node.
                    raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None
                raise SessionEnded("The node has removed this device: register or link it again.") from None
            self.save_tokens(session)
            return str(session["accessToken"])

    def _load_tokens(self) -> Tokens:
        packed = self._store.get(kinds.TOKENS)
        if packed is None:
            raise NotRegistered("This profile has no account yet: run `vyry client register` or `vyry client link`.")
        return unpack(Tokens, packed)


@contextmanager
def rate_limit_as_unreachable() -> Iterator[None]:
    """Around a call that is retried later: a rate limit raises Unreachable instead of Refused."""
    try:
        yield
    except Refused as refused:
        if refused.code != "RATE_LIMITED":
            raise
        raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None


def _token(value: object) -> str:
    """A token that fits into a header. Raises ValueError."""
    found = read_text(value, MAX_TOKEN)
    if not (found.isascii() and found.isprintable() and found):
        raise ValueError("invalid token")
    return found


def _bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}
