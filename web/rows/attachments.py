"""Attachments."""

from collections.abc import Mapping
from typing import Final

from vyry.errors import (
    ChecksumMismatch,
    NotFound,
    OffsetMismatch,
    RangeNotSatisfiable,
    RateLimited,
    UnsupportedVersion,
)
from vyry.limits import UPLOAD
from web.app_keys import Route
from web.handlers import attachments
from web.wire.tus import MEDIA_TYPE, TUS_HEADERS, require_version


_COLLECTION_PATH: Final = "/api/v1/attachments"
_ITEM_PATH: Final = "/api/v1/attachments/{attachmentId}"
_VERSION: Final[Mapping[str, bool]] = {"Tus-Resumable": True}
#: How large an attachment may be is a setting, and how much of it is missing differs: uploads look themselves.
_ANY_SIZE: Final = 1 << 53
_PROGRESS_HEADERS: Final[Mapping[str, str]] = {
    "Upload-Offset": "How many bytes are safe.",
    "Upload-Length": "How many it will be.",
    "Upload-Expires": "Until when it is kept; an unfinished one is kept anew with each addition.",
}
_CACHE_HEADERS: Final[Mapping[str, str]] = {
    "ETag": "Strong: the content of an attachment never changes.",
    "Last-Modified": "When it was whole.",
    "Accept-Ranges": "bytes",
}

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="OPTIONS",
        path=_COLLECTION_PATH,
        operation="attachments.tell",
        handler=attachments.tell,
        summary="What uploads can do (tus 1.0.0)",
        auth="open",
        responses={204: None},
        fixed_headers=TUS_HEADERS,
        response_headers={
            "Tus-Extension": "What is spoken beyond the core.",
            "Tus-Max-Size": "The largest attachment.",
            "Tus-Checksum-Algorithm": "What Upload-Checksum may be.",
        },
    ),
    Route(
        method="POST",
        path=_COLLECTION_PATH,
        operation="attachments.begin",
        handler=attachments.begin,
        summary="Begin an upload of a known length (tus creation)",
        responses={201: None},
        refusals=(UnsupportedVersion, RateLimited),
        request_headers={**_VERSION, "Upload-Length": True, "Upload-Metadata": False},
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        response_headers={**_PROGRESS_HEADERS, "Location": "The path of the attachment, whose last part is its id."},
        quota=UPLOAD,
    ),
    Route(
        method="HEAD",
        path=_ITEM_PATH,
        operation="attachments.look",
        handler=attachments.look,
        summary="How far an upload of one's own is (tus)",
        responses={200: None},
        refusals=(UnsupportedVersion,),
        request_headers=_VERSION,
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        response_headers=_PROGRESS_HEADERS,
    ),
    Route(
        method="PATCH",
        path=_ITEM_PATH,
        operation="attachments.add",
        handler=attachments.add,
        summary="Add to an upload of one's own (tus); what is answered is safe",
        stream_media_type=MEDIA_TYPE,
        body_limit=_ANY_SIZE,
        responses={204: None},
        refusals=(UnsupportedVersion, NotFound, OffsetMismatch, ChecksumMismatch, RateLimited),
        request_headers={**_VERSION, "Upload-Offset": True, "Upload-Checksum": False},
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
        response_headers=_PROGRESS_HEADERS,
    ),
    Route(
        method="DELETE",
        path=_ITEM_PATH,
        operation="attachments.end",
        handler=attachments.end,
        summary="End an attachment of one's own, whole or not (tus termination)",
        responses={204: None},
        refusals=(UnsupportedVersion,),
        request_headers=_VERSION,
        precheck=require_version,
        fixed_headers=TUS_HEADERS,
    ),
    Route(
        method="GET",
        path=_ITEM_PATH,
        operation="attachments.fetch",
        handler=attachments.fetch,
        summary="The bytes of a whole attachment, or one range of them",
        responses={200: "application/octet-stream", 206: "application/octet-stream", 304: None},
        refusals=(RangeNotSatisfiable, RateLimited),
        request_headers={"Range": False, "If-Range": False, "If-None-Match": False, "If-Modified-Since": False},
        response_headers=_CACHE_HEADERS,
    ),
)
