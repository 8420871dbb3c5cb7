"""The headers of tus 1.0.0 (https://tus.io/protocols/resumable-upload): core, creation, checksum, expiration, termination."""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Mapping
from email.utils import format_datetime
from hashlib import new as new_hash
from typing import Final

from aiohttp import web

from vyry.attachments.attachment import Attachment
from vyry.attachments.upload import ALGORITHMS, Checksum
from vyry.errors import InvalidRequest, UnsupportedVersion


VERSION: Final = "1.0.0"
MEDIA_TYPE: Final = "application/offset+octet-stream"
#: Of every answer.
TUS_HEADERS: Final[Mapping[str, str]] = {"Tus-Resumable": VERSION, "Tus-Version": VERSION}
EXTENSIONS: Final = "creation,checksum,expiration,termination"
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def require_version(request: web.Request) -> None:
    """Whoever speaks another version, or does not say which, is not served."""
    if request.headers.getall("Tus-Resumable", []) != [VERSION]:
        raise UnsupportedVersion


def byte_count_header(request: web.Request, name: str) -> int:
    """The count of bytes that this header tells."""
    said = request.headers.getall(name, [])
    if len(said) != 1 or not _NUMBER.fullmatch(said[0]):
        raise _header_error(name, "must stand there once, as a count of bytes")
    return int(said[0])


def read_checksum(request: web.Request) -> Checksum | None:
    """What the body must hash to, if that is said."""
    said = request.headers.getall("Upload-Checksum", [])
    if not said:
        return None
    algorithm, _, digest = said[0].partition(" ")
    if len(said) > 1 or algorithm not in ALGORITHMS:
        raise _header_error("Upload-Checksum", f"must be one of {', '.join(ALGORITHMS)}, a blank and base64")
    try:
        octets = a2b_base64(digest.encode("ascii"), strict_mode=True)
    except (NotBase64, UnicodeEncodeError):
        raise _header_error("Upload-Checksum", "must end in base64") from None
    if len(octets) != new_hash(algorithm, usedforsecurity=False).digest_size:
        raise _header_error("Upload-Checksum", "has not the length of its algorithm")
    return Checksum(algorithm, octets)


def progress_headers(attachment: Attachment) -> dict[str, str]:
    """How far an upload is, and until when it is kept."""
    return {
        "Upload-Offset": str(attachment.received),
        "Upload-Length": str(attachment.length),
        "Upload-Expires": format_datetime(attachment.expires_at, usegmt=True),
    }


def capability_headers(most_bytes: int) -> dict[str, str]:
    """What this server can do."""
    return {
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(most_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def _header_error(header: str, problem: str) -> InvalidRequest:
    return InvalidRequest(fields=[{"field": header, "problem": problem}])
