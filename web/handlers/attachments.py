"""Attachments: uploads by tus, downloads by ranges."""

from aiohttp import web

from vyry.attachments.attachment import AttachmentId
from vyry.attachments.upload import Incoming
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire import ranges, tus
from web.wire.streaming import read_chunks, send_stream
from web.wire.strict import path_id


async def tell(request: web.Request) -> web.Response:
    """OPTIONS /attachments."""
    most_bytes = request.app[SERVICES].attachments.service.max_bytes
    return web.Response(status=204, headers=tus.capability_headers(most_bytes))


async def begin(request: web.Request) -> web.Response:
    """POST /attachments."""
    length = tus.byte_count_header(request, "Upload-Length")
    begun = await request.app[SERVICES].attachments.service.create(request[CALLER], length)
    request[GRANTS] = list(begun.grants)
    place = f"{request.path.rstrip('/')}/{begun.attachment.attachment_id}"
    return web.Response(status=201, headers={**tus.progress_headers(begun.attachment), "Location": place})


async def look(request: web.Request) -> web.Response:
    """HEAD /attachments/{attachmentId}."""
    found = await request.app[SERVICES].attachments.service.load_own(request[CALLER].user_id, _attachment_id(request))
    return web.Response(headers=tus.progress_headers(found))


async def add(request: web.Request) -> web.Response:
    """PATCH /attachments/{attachmentId}."""
    offset, checksum = tus.byte_count_header(request, "Upload-Offset"), tus.read_checksum(request)
    incoming = Incoming(offset, read_chunks(request), request.content_length, checksum)
    attachments, owner = request.app[SERVICES].attachments.service, request[CALLER].user_id
    longer = await attachments.append(owner, _attachment_id(request), incoming, lambda: _abort_connection(request))
    return web.Response(status=204, headers=tus.progress_headers(longer))


async def end(request: web.Request) -> web.Response:
    """DELETE /attachments/{attachmentId}."""
    await request.app[SERVICES].attachments.service.expire(request[CALLER].user_id, _attachment_id(request))
    return web.Response(status=204)


async def fetch(request: web.Request) -> web.StreamResponse:
    """GET /attachments/{attachmentId}."""
    attachments = request.app[SERVICES].attachments.service
    found = await attachments.load_complete(_attachment_id(request))
    headers = ranges.cache_headers(found)
    if ranges.is_not_modified(request, found):
        return web.Response(status=304, headers=headers)
    span = ranges.requested_range(request, found)
    headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(span.length)}
    if span.is_partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{found.length}"
    response = web.StreamResponse(status=206 if span.is_partial else 200, headers=headers)
    reader = request[CALLER].user_id
    content = attachments.read(reader, found, span.start, span.length, lambda: _abort_connection(request))
    return await send_stream(request, response, content)


def _abort_connection(request: web.Request) -> None:
    """End the connection: another transfer needs the place of this one, which goes on later where it was."""
    if request.transport is not None:
        request.transport.abort()


def _attachment_id(request: web.Request) -> AttachmentId:
    return AttachmentId(path_id(request, "attachmentId"))
