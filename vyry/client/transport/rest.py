"""REST calls of a device: answers or clear failures, and tokens that renew themselves."""

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


#: How long a connection may carry nothing, at most.
MAX_SILENCE_SECONDS: Final = 40.0
#: In the path of a call that the node answers when something happens.
_HELD: Final = "?wait="
_LONGEST_TOKEN: Final = 4_096
_LONGEST_CURSOR: Final = 1_024
#: A list that goes on beyond this is none.
_MOST_LISTED: Final = 100_000

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The session as it is kept. `attempt_id` names a renewal whose answer has not come yet: repeated, it is no reuse."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    attempt_id: UUID | None = None


class RestClient:
    """Calls one node. Every call is made once; who may repeat it is the caller's business, for the ids are."""

    def __init__(self, http: aiohttp.ClientSession, url: str, store: Store, waits: Waits = DEFAULT_WAITS) -> None:
        self.http = http
        self.url = url.rstrip("/")
        self.waits: Final = waits
        #: How long a connection may carry nothing.
        self.silence_seconds: Final = min(waits.seconds or MAX_SILENCE_SECONDS, MAX_SILENCE_SECONDS)
        #: Moves with each call that the node has done.
        self.progress: Final = ProgressTimer()
        self._store = store
        self._renew_lock = asyncio.Lock()

    async def call_unauthenticated(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Body:
        """A call without a token. Raises Refused, Unreachable."""
        data = None if body is None else orjson.dumps(body)
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if data is not None else {})}
        try:
            with self._reporting_wait(path):
                async with (
                    asyncio.timeout(self.silence_seconds) as limit,
                    self.http.request(method, f"{self.url}/api/v1{path}", data=data, headers=sent) as answer,
                ):
                    said = await self._read(answer, limit)
        except (aiohttp.ClientError, OSError, TimeoutError, RecursionError, ValueError) as lost:
            raise Unreachable(f"{self.url} does not answer ({type(lost).__name__}).") from lost
        if answer.status >= 500:
            wait = said.get("retry_after_seconds") if isinstance(said, dict) else None
            raise Unreachable(f"{self.url} cannot do it now ({answer.status}).", wait)
        if not isinstance(said, dict):
            raise Unreachable(f"{self.url} does not answer as a node does ({answer.status}).")
        if answer.status >= 400:
            raise Refused(answer.status, said)
        self.progress.advance()
        found: Body = said
        return found

    def extend_timeout(self, limit: asyncio.Timeout) -> None:
        """A connection has carried something: its silence begins anew."""
        if not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + self.silence_seconds)

    def _reporting_wait(self, path: str) -> AbstractContextManager[None]:
        # A call that the node is asked to hold until something happens is no wait for the node.
        return nullcontext() if _HELD in path else self.waits.reporting(lambda: f"{self.url} has not answered yet.")

    async def _read(self, answer: aiohttp.ClientResponse, limit: asyncio.Timeout) -> object:
        """What an answer says, however slow the line is that it comes on. Raises ValueError for what is no JSON."""
        said = bytearray()
        async for piece in answer.content.iter_any():
            self.extend_timeout(limit)
            said += piece
        found: object = json.loads(said) if said.strip() else None
        return found

    async def call(self, method: str, path: str, body: object = None) -> Body:
        """A call of this device; an access token that has ended is renewed first. Raises Refused, Unreachable, NotRegistered, SessionEnded."""
        token = self.access_token()
        try:
            return await self.call_unauthenticated(method, path, body, _bearer(token))
        except Refused as refused:
            if refused.status != 401:
                raise
        return await self.call_unauthenticated(method, path, body, _bearer(await self.renew_token(token)))

    async def list_all(self, path: str, name: str) -> list[Body]:
        """Everything of a list that the node gives in pages. Raises as `call`."""
        found: list[Body] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.call(
                "GET", f"{path}{'&' if '?' in path else '?'}limit=100{cursor and '&cursor=' + cursor}"
            )
            with self.validated_response():
                found += map(read_object, page[name])
                cursor = page["nextCursor"] and read_text(page["nextCursor"], _LONGEST_CURSOR)
                read_int(len(found), most=_MOST_LISTED)
        return found

    @contextmanager
    def validated_response(self) -> Iterator[None]:
        """Around the reading of an answer: one of another shape than docs/protocol.md has decides nothing. Raises Unreachable."""
        try:
            yield
        except INVALID_SHAPE as strange:
            raise Unreachable(f"{self.url} does not answer as a node does ({type(strange).__name__}).") from strange

    def access_token(self) -> str:
        """The access token as it is kept."""
        return self._load_tokens().access

    def save_tokens(self, session: Mapping[str, Any]) -> None:
        """Keep the tokens of a session that the node has just given. Raises Unreachable for what are none."""
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
            asked = {"refreshToken": tokens.refresh, "attemptId": str(attempt.attempt_id)}
            try:
                session = await self.call_unauthenticated("POST", "/auth/refresh-token", asked)
            except Refused as refused:
                if refused.status != 401:
                    # No word about the session: it may be limited, or the node is not well.
                    raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None
                raise SessionEnded("The node has ended this device: register or link it anew.") from None
            self.save_tokens(session)
            return str(session["accessToken"])

    def _load_tokens(self) -> Tokens:
        kept = self._store.get(kinds.TOKENS)
        if kept is None:
            raise NotRegistered("This profile has no account yet.")
        return unpack(Tokens, kept)


@contextmanager
def rate_limit_as_unreachable() -> Iterator[None]:
    """Around a call that is made again later: that the node limits the rate decides nothing. Raises Unreachable."""
    try:
        yield
    except Refused as refused:
        if refused.code != "RATE_LIMITED":
            raise
        raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None


def _token(value: object) -> str:
    """A token, as a header carries it. Raises ValueError."""
    found = read_text(value, _LONGEST_TOKEN)
    if not (found.isascii() and found.isprintable() and found):
        raise ValueError("no token")
    return found


def _bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}
