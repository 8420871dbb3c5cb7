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
from web.handlers import attachments
from web.keys import Route
from web.wire.tus import CARRIED, MEDIA_TYPE, check_version


_ALL: Final = "/api/v1/attachments"
_ONE: Final = "/api/v1/attachments/{attachmentId}"
_VERSION: Final[Mapping[str, bool]] = {"Tus-Resumable": True}
#: How large an attachment may be is a setting, and how much of it is missing differs: uploads look themselves.
_ANY_SIZE: Final = 1 << 53
_PROGRESS: Final[Mapping[str, str]] = {
    "Upload-Offset": "How many bytes are safe.",
    "Upload-Length": "How many it will be.",
    "Upload-Expires": "Until when it is kept; an unfinished one is kept anew with each addition.",
}
_FACTS: Final[Mapping[str, str]] = {
    "ETag": "Strong: the content of an attachment never changes.",
    "Last-Modified": "When it was whole.",
    "Accept-Ranges": "bytes",
}

ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="OPTIONS",
        path=_ALL,
        handler=attachments.tell,
        summary="What uploads can do (tus 1.0.0)",
        auth="open",
        answers={204: None},
        carries=CARRIED,
        says={
            "Tus-Extension": "What is spoken beyond the core.",
            "Tus-Max-Size": "The largest attachment.",
            "Tus-Checksum-Algorithm": "What Upload-Checksum may be.",
        },
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=attachments.begin,
        summary="Begin an upload of a known length (tus creation)",
        answers={201: None},
        refusals=(UnsupportedVersion, RateLimited),
        headers={**_VERSION, "Upload-Length": True, "Upload-Metadata": False},
        check=check_version,
        carries=CARRIED,
        says={**_PROGRESS, "Location": "The path of the attachment, whose last part is its id."},
        quota=UPLOAD,
    ),
    Route(
        method="HEAD",
        path=_ONE,
        handler=attachments.look,
        summary="How far an upload of one's own is (tus)",
        answers={200: None},
        refusals=(UnsupportedVersion,),
        headers=_VERSION,
        check=check_version,
        carries=CARRIED,
        says=_PROGRESS,
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=attachments.add,
        summary="Add to an upload of one's own (tus); what is answered is safe",
        stream=MEDIA_TYPE,
        body_limit=_ANY_SIZE,
        answers={204: None},
        refusals=(UnsupportedVersion, NotFound, OffsetMismatch, ChecksumMismatch, RateLimited),
        headers={**_VERSION, "Upload-Offset": True, "Upload-Checksum": False},
        check=check_version,
        carries=CARRIED,
        says=_PROGRESS,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=attachments.end,
        summary="End an attachment of one's own, whole or not (tus termination)",
        answers={204: None},
        refusals=(UnsupportedVersion,),
        headers=_VERSION,
        check=check_version,
        carries=CARRIED,
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=attachments.fetch,
        summary="The bytes of a whole attachment, or one range of them",
        answers={200: "application/octet-stream", 206: "application/octet-stream", 304: None},
        refusals=(RangeNotSatisfiable, RateLimited),
        headers={"Range": False, "If-Range": False, "If-None-Match": False, "If-Modified-Since": False},
        says=_FACTS,
    ),
)
