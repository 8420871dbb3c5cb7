"""Sealed files on the node: uploads by tus, downloads by range requests (docs/protocol.md, "Attachments")."""

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


#: Interruptions in a row without progress.
MAX_TRIES: Final = 7
_FIRST_WAIT: Final = 0.2
_ATTACHMENTS_PATH: Final = "/api/v1/attachments"
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_UPLOAD_HEADERS: Final = {"Content-Type": "application/offset+octet-stream"}
#: Responses to a PATCH that was interrupted, too slow, or overtaken: the offset has to be fetched.
_INTERRUPTED_STATUSES: Final = (400, 408, 409)
_OK_STATUSES: Final = (200, 201, 204, 206)
_RANGE: Final = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})", re.ASCII)


class Backoff:
    """Retries of an interrupted transfer: exponential, and from the start after progress."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._tries = 0
        self._at = 0
        self._moved_at = time.monotonic()

    async def wait(self, problem: Unreachable, at: int) -> None:
        """Wait for the next try; `at` bytes are transferred. Raises the problem after too many tries or too long."""
        if at > self._at:
            self._tries, self._at, self._moved_at = 0, at, time.monotonic()
        self._tries += 1
        wait = jittered(problem.retry_after_seconds or _FIRST_WAIT * 2**self._tries, 0.5, 1.5)
        is_too_long = time.monotonic() + wait - self._moved_at > (self._waits.seconds or math.inf)
        if self._tries >= MAX_TRIES or is_too_long:
            raise problem
        if wait > REPORT_AFTER_SECONDS:
            self._waits.told(f"{problem} Retrying in {wait:.0f} s.")
        await asyncio.sleep(wait)


class DownloadStream:
    """The rest of a blob from `start` on: 0 when the node sends all of it."""

    def __init__(self, response: aiohttp.ClientResponse, extend_timeout: Callable[[], None], start: int) -> None:
        self.start: Final = start
        self._answer = response
        self._extend_timeout = extend_timeout

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes until the connection ends."""
        async for piece in self._answer.content.iter_any():
            self._extend_timeout()
            yield piece


class AttachmentTransfer:
    """Transfers bytes. Everything raises Refused, Unreachable, SessionEnded."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def max_bytes(self) -> int:
        """The largest blob that the node accepts."""
        async with self._request("OPTIONS", _ATTACHMENTS_PATH, _TUS) as (response, _):
            return _int_header(response, "Tus-Max-Size")

    async def create_upload(self, length: int) -> UUID:
        """Create an upload of this length; returns its id."""
        async with self._request("POST", _ATTACHMENTS_PATH, {**_TUS, "Upload-Length": str(length)}) as (response, _):
            try:
                return UUID(response.headers.get("Location", "").rpartition("/")[2])
            except ValueError:
                raise Unreachable("The node returned no upload URL for the file.") from None

    async def upload_offset(self, attachment_id: UUID, length: int) -> int | None:
        """Bytes of an own upload that the node has; None without an upload of this id and length."""
        try:
            async with self._request("HEAD", f"{_ATTACHMENTS_PATH}/{attachment_id}", _TUS) as (response, _):
                at, announced = _int_header(response, "Upload-Offset"), _int_header(response, "Upload-Length")
        except Refused as refused:
            if refused.status in (404, 410):
                return None
            raise
        return at if announced == length and at <= length else None

    async def delete(self, attachment_id: UUID) -> None:
        """Delete an own attachment."""
        async with self._request("DELETE", f"{_ATTACHMENTS_PATH}/{attachment_id}", _TUS):
            return

    async def append(self, attachment_id: UUID, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Send the rest of a blob. After an interruption `upload_offset` says how much arrived."""
        headers = {**_TUS, **_UPLOAD_HEADERS, "Upload-Offset": str(offset)}
        try:
            async with self._request("PATCH", f"{_ATTACHMENTS_PATH}/{attachment_id}", headers, pieces):
                return
        except Refused as refused:
            if refused.status in _INTERRUPTED_STATUSES:
                raise Unreachable(str(refused)) from refused
            raise

    @asynccontextmanager
    async def fetch(self, attachment_id: UUID, start: int, length: int) -> AsyncIterator[DownloadStream]:
        """The blob from `start` on. Raises AttachmentTruncated, AttachmentBroken when its length differs."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": f'"{attachment_id}"'}
        try:
            async with self._request("GET", f"{_ATTACHMENTS_PATH}/{attachment_id}", headers) as (response, limit):
                first, total = _content_range(response, start)
                if total != length:
                    raise AttachmentTruncated if total < length else AttachmentBroken
                yield DownloadStream(response, partial(self._rest.extend_timeout, limit), first)
        except Refused as refused:
            if refused.status == 416:
                raise AttachmentTruncated from refused
            raise

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Timeout]]:
        token = self._rest.access_token()
        all_headers = {**headers, "Authorization": f"Bearer {token}"}
        forever = aiohttp.ClientTimeout(total=None)
        try:
            async with asyncio.timeout(self._rest.silence_seconds) as limit:
                data = None if pieces is None else _extending_timeout(pieces, partial(self._rest.extend_timeout, limit))
                url = f"{self._rest.url}{path}"
                request = self._rest.http.request(
                    method, url, data=data, headers=all_headers, timeout=forever, allow_redirects=False
                )
                async with request as response:
                    await self._check(response, token)
                    self._rest.progress.advance()
                    yield response, limit
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            raise Unreachable(f"Cannot reach {self._rest.url} ({type(lost).__name__}).") from lost

    async def _check(self, response: aiohttp.ClientResponse, token: str) -> None:
        if response.status in _OK_STATUSES:
            return
        try:
            decoded = orjson.loads(await response.read())
        except ValueError:
            decoded = None
        body = decoded if isinstance(decoded, dict) else {}
        if response.status >= 500:
            raise Unreachable(
                f"{self._rest.url} is temporarily unavailable ({response.status}).", body.get("retry_after_seconds")
            )
        if response.status == 401:
            await self._rest.renew_token(token)
            raise Unreachable("The access token has expired.")
        if response.status < 400:
            raise Unreachable(f"{self._rest.url} did not respond like a Vyry node ({response.status}). Check --url.")
        raise Refused(response.status, body)


async def _extending_timeout(pieces: AsyncIterator[bytes], extend_timeout: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        extend_timeout()
        yield piece
    extend_timeout()


def _int_header(response: aiohttp.ClientResponse, name: str) -> int:
    text = response.headers.get(name, "")
    if not re.fullmatch(r"\d{1,16}", text, re.ASCII):
        raise Unreachable(f"The node sent an invalid response ({name}).")
    return int(text)


def _content_range(response: aiohttp.ClientResponse, start: int) -> tuple[int, int]:
    """The first byte of a response, and the length of the whole."""
    if response.status != 206:
        return 0, _int_header(response, "Content-Length")
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise Unreachable("The node sent an invalid response (Content-Range).")
    return start, int(found[3])
