"""Parts of a file, and files that the client has already (RFC 9110, 13 and 14). The content of an attachment never changes, so its id is its strong ETag."""

import re
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final

from aiohttp import web

from vyry.attachments.attachment import Attachment
from vyry.errors import RangeNotSatisfiable


_SINGLE_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))[ \t]*", re.ASCII | re.IGNORECASE
)
_MULTIPLE_RANGES: Final = re.compile(r"bytes=[0-9\-, \t]*,[0-9\-, \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a whole."""

    start: int
    length: int
    is_partial: bool


def cache_headers(found: Attachment) -> dict[str, str]:
    """The headers that are the same for all, parts and nothing. A copy may be kept, and asked about before each use: it is gone when the original is."""
    return {
        "ETag": _etag(found),
        "Last-Modified": format_datetime(found.completed_at or found.created_at, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment",
    }


def is_not_modified(request: web.Request, found: Attachment) -> bool:
    """Whether the client has it. Where it names tags, times count for nothing."""
    if "If-None-Match" in request.headers:
        tags = [tag.strip() for line in request.headers.getall("If-None-Match") for tag in line.split(",")]
        return "*" in tags or _etag(found) in [tag.removeprefix("W/") for tag in tags]
    since = request.if_modified_since
    return since is not None and (found.completed_at or found.created_at).replace(microsecond=0) <= since


def requested_range(request: web.Request, found: Attachment) -> ByteRange:
    """Which bytes are asked for. What is no range of bytes asks for all, and so does a range of something else than this (If-Range).

    Raises RangeNotSatisfiable for a range that begins behind the end, and for several at once, of which no client of ours has a use.
    """
    whole = ByteRange(0, found.length, is_partial=False)
    said = request.headers.getall("Range", [])
    if len(said) != 1 or not _matches_if_range(request, found):
        return whole
    if _MULTIPLE_RANGES.fullmatch(said[0]):
        raise RangeNotSatisfiable(found.length)
    match = _SINGLE_RANGE.fullmatch(said[0])
    if match is None:
        return whole
    first, last, final = (None if each is None else int(each) for each in match.groups())
    if first is not None and last is not None and last < first:
        return whole
    start = max(0, found.length - (final or 0)) if first is None else first
    end = found.length if last is None else min(last + 1, found.length)
    if start >= end:
        raise RangeNotSatisfiable(found.length)
    return ByteRange(start, end - start, is_partial=True)


def _matches_if_range(request: web.Request, found: Attachment) -> bool:
    """Whether the range is one of this very content."""
    said = request.headers.get("If-Range")
    return said is None or said in (_etag(found), cache_headers(found)["Last-Modified"])


def _etag(found: Attachment) -> str:
    return f'"{found.attachment_id}"'
