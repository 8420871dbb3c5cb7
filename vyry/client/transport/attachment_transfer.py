"""Sealed files at the node: bytes up by tus, bytes down by ranges (docs/protocol.md, "Attachments")."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from uuid import UUID

import aiohttp
import orjson

from vyry.client.errors import Refused, Unreachable
from vyry.client.transport.rest import RestClient
from vyry.client.transport.waits import REPORT_AFTER_SECONDS, Waits
from vyry.kernel.backoff import jittered
from vyry.signal_protocol.refusals import AttachmentBroken, AttachmentTruncated


#: So often in a row it may break without having carried anything.
MAX_TRIES: Final = 7
_FIRST_WAIT: Final = 0.2
_ALL: Final = "/api/v1/attachments"
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_BYTES: Final = {"Content-Type": "application/offset+octet-stream"}
#: Answers to a PATCH that broke off, was too slow, or was overtaken: where it stands has to be asked.
_BROKE_OFF: Final = (400, 408, 409)
_DONE: Final = (200, 201, 204, 206)
_RANGE: Final = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})", re.ASCII)


class Backoff:
    """How often a broken connection is tried again: longer and longer apart, and from the start when something was carried."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._tries = 0
        self._at = 0
        self._moved_at = time.monotonic()

    async def wait(self, problem: Unreachable, at: int) -> None:
        """Wait for the next try; so many bytes are across. Raises the problem when it was tried often or long enough."""
        if at > self._at:
            self._tries, self._at, self._moved_at = 0, at, time.monotonic()
        self._tries += 1
        wait = jittered(problem.retry_after_seconds or _FIRST_WAIT * 2**self._tries, 0.5, 1.5)
        is_over = time.monotonic() + wait - self._moved_at > (self._waits.seconds or math.inf)
        if self._tries >= MAX_TRIES or is_over:
            raise problem
        if wait > REPORT_AFTER_SECONDS:
            self._waits.told(f"{problem} The next try is in {wait:.0f} s.")
        await asyncio.sleep(wait)


class DownloadStream:
    """The rest of a blob, as it comes, from `start` on: 0 when the node gives all of it."""

    def __init__(self, answer: aiohttp.ClientResponse, alive: Callable[[], None], start: int) -> None:
        self.start: Final = start
        self._answer = answer
        self._extend_timeout = alive

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes until the connection ends."""
        async for piece in self._answer.content.iter_any():
            self._extend_timeout()
            yield piece


class AttachmentTransfer:
    """Carries bytes. Everything raises Refused, Unreachable, SessionEnded."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def max_bytes(self) -> int:
        """How long a blob may be."""
        async with self._request("OPTIONS", _ALL, _TUS) as (answer, _):
            return _int_header(answer, "Tus-Max-Size")

    async def create_upload(self, length: int) -> UUID:
        """Announce a blob; answers its id."""
        async with self._request("POST", _ALL, {**_TUS, "Upload-Length": str(length)}) as (answer, _):
            try:
                return UUID(answer.headers.get("Location", "").rpartition("/")[2])
            except ValueError:
                raise Unreachable("The node tells no place for the file.") from None

    async def upload_offset(self, attachment_id: UUID, length: int) -> int | None:
        """How much of an own blob of this length is there; None when there is no such one."""
        try:
            async with self._request("HEAD", f"{_ALL}/{attachment_id}", _TUS) as (answer, _):
                at, announced = _int_header(answer, "Upload-Offset"), _int_header(answer, "Upload-Length")
        except Refused as refused:
            if refused.status in (404, 410):
                return None
            raise
        return at if announced == length and at <= length else None

    async def append(self, attachment_id: UUID, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Carry the rest of a blob. When it breaks off, `offset` tells how far it came."""
        headers = {**_TUS, **_BYTES, "Upload-Offset": str(offset)}
        try:
            async with self._request("PATCH", f"{_ALL}/{attachment_id}", headers, pieces):
                return
        except Refused as refused:
            if refused.status in _BROKE_OFF:
                raise Unreachable(str(refused)) from refused
            raise

    @asynccontextmanager
    async def fetch(self, attachment_id: UUID, start: int, length: int) -> AsyncIterator[DownloadStream]:
        """What follows on `start` of a blob that has to be that long. Raises AttachmentTruncated, AttachmentBroken when it is not."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": f'"{attachment_id}"'}
        try:
            async with self._request("GET", f"{_ALL}/{attachment_id}", headers) as (answer, limit):
                begun, whole = _content_range(answer, start)
                if whole != length:
                    raise AttachmentTruncated if whole < length else AttachmentBroken
                yield DownloadStream(answer, partial(self._rest.extend_timeout, limit), begun)
        except Refused as refused:
            if refused.status == 416:
                raise AttachmentTruncated from refused
            raise

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Timeout]]:
        token = self._rest.access_token()
        sent = {**headers, "Authorization": f"Bearer {token}"}
        forever = aiohttp.ClientTimeout(total=None)
        try:
            async with asyncio.timeout(self._rest.silence_seconds) as limit:
                data = None if pieces is None else _extending_timeout(pieces, partial(self._rest.extend_timeout, limit))
                url = f"{self._rest.url}{path}"
                asked = self._rest.http.request(
                    method, url, data=data, headers=sent, timeout=forever, allow_redirects=False
                )
                async with asked as answer:
                    await self._check(answer, token)
                    self._rest.progress.advance()
                    yield answer, limit
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            raise Unreachable(f"{self._rest.url} does not answer ({type(lost).__name__}).") from lost

    async def _check(self, answer: aiohttp.ClientResponse, token: str) -> None:
        if answer.status in _DONE:
            return
        try:
            said = orjson.loads(await answer.read())
        except ValueError:
            said = None
        body = said if isinstance(said, dict) else {}
        if answer.status >= 500:
            raise Unreachable(f"{self._rest.url} cannot do it now ({answer.status}).", body.get("retry_after_seconds"))
        if answer.status == 401:
            await self._rest.renew_token(token)
            raise Unreachable("The access token had ended.")
        if answer.status < 400:
            raise Unreachable(f"{self._rest.url} does not answer as a node does ({answer.status}).")
        raise Refused(answer.status, body)


async def _extending_timeout(pieces: AsyncIterator[bytes], alive: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        alive()
        yield piece
    alive()


def _int_header(answer: aiohttp.ClientResponse, name: str) -> int:
    said = answer.headers.get(name, "")
    if not re.fullmatch(r"\d{1,16}", said, re.ASCII):
        raise Unreachable(f"The node does not answer as a node does ({name}).")
    return int(said)


def _content_range(answer: aiohttp.ClientResponse, start: int) -> tuple[int, int]:
    """Where an answer begins, and how long the whole is."""
    if answer.status != 206:
        return 0, _int_header(answer, "Content-Length")
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise Unreachable("The node does not answer as a node does (Content-Range).")
    return start, int(found[3])
