"""Attachments: uploads by tus 1.0.0 (core, creation, checksum, expiration, termination), downloads by ranges (RFC 9110, 13 and 14).

The content of an attachment never changes, so its id is its strong ETag.
"""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from hashlib import new as new_hash
from typing import Final

from aiohttp import web

from vyry.attachments.attachment import Attachment, AttachmentId
from vyry.attachments.upload import ALGORITHMS, Checksum, Incoming
from vyry.errors import (
    ChecksumMismatch,
    InvalidRequest,
    NotFound,
    OffsetMismatch,
    RangeNotSatisfiable,
    RateLimited,
    UnsupportedVersion,
)
from vyry.limits import UPLOAD
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import path_id, read_chunks, send_stream
from web.route import Route


TUS_VERSION: Final = "1.0.0"
MEDIA_TYPE: Final = "application/offset+octet-stream"
#: Headers of every tus response.
TUS_HEADERS: Final[Mapping[str, str]] = {"Tus-Resumable": TUS_VERSION, "Tus-Version": TUS_VERSION}
EXTENSIONS: Final = "creation,checksum,expiration,termination"
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def require_version(request: web.Request) -> None:
    """Raise UnsupportedVersion unless the request names tus 1.0.0."""
    if request.headers.getall("Tus-Resumable", []) != [TUS_VERSION]:
        raise UnsupportedVersion


def byte_count_header(request: web.Request, name: str) -> int:
    """The number of bytes in this header. Raises InvalidRequest."""
    values = request.headers.getall(name, [])
    if len(values) != 1 or not _NUMBER.fullmatch(values[0]):
        raise _header_error(name, "must be given exactly once, as a decimal number of bytes")
    return int(values[0])


def read_checksum(request: web.Request) -> Checksum | None:
    """The checksum in Upload-Checksum; None without that header. Raises InvalidRequest."""
    values = request.headers.getall("Upload-Checksum", [])
    if not values:
        return None
    algorithm, _, digest = values[0].partition(" ")
    if len(values) > 1 or algorithm not in ALGORITHMS:
        raise _header_error("Upload-Checksum", f"must be one of {', '.join(ALGORITHMS)}, a space and base64")
    try:
        octets = a2b_base64(digest.encode("ascii"), strict_mode=True)
    except (NotBase64, UnicodeEncodeError):
        raise _header_error("Upload-Checksum", "must end in base64") from None
    if len(octets) != new_hash(algorithm, usedforsecurity=False).digest_size:
        raise _header_error("Upload-Checksum", "has the wrong length for its algorithm")
    return Checksum(algorithm, octets)


def progress_headers(attachment: Attachment) -> dict[str, str]:
    """Offset, length and expiry of an upload."""
    return {
        "Upload-Offset": str(attachment.received),
        "Upload-Length": str(attachment.length),
        "Upload-Expires": format_datetime(attachment.expires_at, usegmt=True),
    }


def capability_headers(most_bytes: int) -> dict[str, str]:
    """Extensions, maximum size and checksum algorithms."""
    return {
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(most_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def _header_error(header: str, problem: str) -> InvalidRequest:
    return InvalidRequest(fields=[{"field": header, "problem": problem}])


_SINGLE_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))[ \t]*", re.ASCII | re.IGNORECASE
)
_MULTIPLE_RANGES: Final = re.compile(r"bytes=[0-9\-, \t]*,[0-9\-, \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of the bytes of an attachment."""

    start: int
    length: int
    is_partial: bool


def cache_headers(found: Attachment) -> dict[str, str]:
    """The headers that 200, 206 and 304 share. A client may cache the attachment, and must revalidate before each use: it expires with the original."""
    return {
        "ETag": _etag(found),
        "Last-Modified": format_datetime(found.completed_at or found.created_at, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment",
    }


def is_not_modified(request: web.Request, found: Attachment) -> bool:
    """Whether the client's copy is current. If-None-Match takes precedence over If-Modified-Since."""
    if "If-None-Match" in request.headers:
        tags = [tag.strip() for line in request.headers.getall("If-None-Match") for tag in line.split(",")]
        return "*" in tags or _etag(found) in [tag.removeprefix("W/") for tag in tags]
    since = request.if_modified_since
    return since is not None and (found.completed_at or found.created_at).replace(microsecond=0) <= since


def requested_range(request: web.Request, found: Attachment) -> ByteRange:
    """The requested range. A malformed Range, or an If-Range that does not match, requests the whole attachment.

    Raises RangeNotSatisfiable for a range that starts beyond the end, and for multiple ranges.
    """
    whole = ByteRange(0, found.length, is_partial=False)
    values = request.headers.getall("Range", [])
    if len(values) != 1 or not _matches_if_range(request, found):
        return whole
    if _MULTIPLE_RANGES.fullmatch(values[0]):
        raise RangeNotSatisfiable(found.length)
    match = _SINGLE_RANGE.fullmatch(values[0])
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
    """Whether If-Range is absent or names this content."""
    values = request.headers.get("If-Range")
    return values is None or values in (_etag(found), cache_headers(found)["Last-Modified"])


def _etag(found: Attachment) -> str:
    return f'"{found.attachment_id}"'


async def show_capabilities(request: web.Request) -> web.Response:
    """OPTIONS /attachments."""
    most_bytes = request.app[SERVICES].attachments.service.max_bytes
    return web.Response(status=204, headers=capability_headers(most_bytes))


async def create_upload(request: web.Request) -> web.Response:
    """POST /attachments."""
    length = byte_count_header(request, "Upload-Length")
    created = await request.app[SERVICES].attachments.service.create(request[CALLER], length)
    request[GRANTS] = list(created.grants)
    location = f"{request.path.rstrip('/')}/{created.attachment.attachment_id}"
    return web.Response(status=201, headers={**progress_headers(created.attachment), "Location": location})


async def show_progress(request: web.Request) -> web.Response:
    """HEAD /attachments/{attachmentId}."""
    found = await request.app[SERVICES].attachments.service.load_own(request[CALLER].user_id, _attachment_id(request))
    return web.Response(headers=progress_headers(found))


async def append(request: web.Request) -> web.Response:
    """PATCH /attachments/{attachmentId}."""
    offset, checksum = byte_count_header(request, "Upload-Offset"), read_checksum(request)
    incoming = Incoming(offset, read_chunks(request), request.content_length, checksum)
    attachments, owner = request.app[SERVICES].attachments.service, request[CALLER].user_id
    longer = await attachments.append(owner, _attachment_id(request), incoming, lambda: _abort_connection(request))
    return web.Response(status=204, headers=progress_headers(longer))


async def delete(request: web.Request) -> web.Response:
    """DELETE /attachments/{attachmentId}."""
    await request.app[SERVICES].attachments.service.expire(request[CALLER].user_id, _attachment_id(request))
    return web.Response(status=204)


async def download(request: web.Request) -> web.StreamResponse:
    """GET /attachments/{attachmentId}."""
    attachments = request.app[SERVICES].attachments.service
    found = await attachments.load_complete(_attachment_id(request))
    headers = cache_headers(found)
    if is_not_modified(request, found):
        return web.Response(status=304, headers=headers)
    span = requested_range(request, found)
    headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(span.length)}
    if span.is_partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{found.length}"
    response = web.StreamResponse(status=206 if span.is_partial else 200, headers=headers)
    reader = request[CALLER].user_id
    content = attachments.read(reader, found, span.start, span.length, lambda: _abort_connection(request))
    return await send_stream(request, response, content)


def _abort_connection(request: web.Request) -> None:
    """Abort the connection: another transfer takes this one's slot, and the client resumes later at its offset."""
    if request.transport is not None:
        request.transport.abort()


def _attachment_id(request: web.Request) -> AttachmentId:
    return AttachmentId(path_id(request, "attachmentId"))


_COLLECTION_PATH: Final = "/api/v1/attachments"
_ITEM_PATH: Final = "/api/v1/attachments/{attachmentId}"
_VERSION_HEADER: Final[Mapping[str, bool]] = {"Tus-Resumable": True}
#: The maximum size is a setting and the rest of an upload varies, so the upload service checks the size.
_ANY_SIZE: Final = 1 << 53
_PROGRESS_HEADERS: Final[Mapping[str, str]] = {
    "Upload-Offset": "Bytes stored so far.",
    "Upload-Length": "Length of the whole attachment.",
    "Upload-Expires": "When it expires; each append extends an unfinished upload.",
}
_CACHE_HEADERS: Final[Mapping[str, str]] = {
    "ETag": "Strong: the content of an attachment never changes.",
    "Last-Modified": "When the upload was completed.",
    "Accept-Ranges": "bytes",
}
ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="OPTIONS",
        path=_COLLECTION_PATH,
        operation="attachments.tell",
        handler=show_capabilities,
        summary="Upload capabilities (tus 1.0.0)",
        auth="open",
        responses={204: None},
        fixed_headers=TUS_HEADERS,
        documented_headers={
            "Tus-Extension": "Supported tus extensions.",
            "Tus-Max-Size": "The largest attachment.",
            "Tus-Checksum-Algorithm": "Algorithms for Upload-Checksum.",
        },
    ),
    Route(
        method="POST",
        path=_COLLECTION_PATH,
        operation="attachments.begin",
        handler=create_upload,
        summary="Create an upload of a known length (tus creation)",
        responses={201: None},
        refusals=(UnsupportedVersion, RateLimited),
        request_headers={**_VERSION_HEADER, "Upload-Length": True, "Upload-Metadata": False},
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        documented_headers={**_PROGRESS_HEADERS, "Location": "The path of the attachment; its last segment is the id."},
        documented_quota=UPLOAD,
    ),
    Route(
        method="HEAD",
        path=_ITEM_PATH,
        operation="attachments.look",
        handler=show_progress,
        summary="Offset of the caller's upload (tus)",
        responses={200: None},
        refusals=(UnsupportedVersion,),
        request_headers=_VERSION_HEADER,
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        documented_headers=_PROGRESS_HEADERS,
    ),
    Route(
        method="PATCH",
        path=_ITEM_PATH,
        operation="attachments.add",
        handler=append,
        summary="Append to the caller's upload (tus); acknowledged bytes are durable",
        stream_media_type=MEDIA_TYPE,
        body_limit=_ANY_SIZE,
        responses={204: None},
        refusals=(UnsupportedVersion, NotFound, OffsetMismatch, ChecksumMismatch, RateLimited),
        request_headers={**_VERSION_HEADER, "Upload-Offset": True, "Upload-Checksum": False},
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        documented_headers=_PROGRESS_HEADERS,
    ),
    Route(
        method="DELETE",
        path=_ITEM_PATH,
        operation="attachments.end",
        handler=delete,
        summary="Delete the caller's attachment, complete or not (tus termination)",
        responses={204: None},
        refusals=(UnsupportedVersion,),
        request_headers=_VERSION_HEADER,
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
    ),
    Route(
        method="GET",
        path=_ITEM_PATH,
        operation="attachments.fetch",
        handler=download,
        summary="Download a complete attachment, or one range of it",
        responses={200: "application/octet-stream", 206: "application/octet-stream", 304: None},
        refusals=(RangeNotSatisfiable, RateLimited),
        request_headers={"Range": False, "If-Range": False, "If-None-Match": False, "If-Modified-Since": False},
        documented_headers=_CACHE_HEADERS,
    ),
)
