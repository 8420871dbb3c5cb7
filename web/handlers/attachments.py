"""Attachments: uploads by tus, downloads by ranges."""

from aiohttp import web

from vyry.files.attachments import AttachmentId
from vyry.files.uploading import Incoming
from web.keys import CALLER, GRANTS, SERVICES
from web.wire import ranges, tus
from web.wire.streaming import pieces, sent
from web.wire.strict import named


async def tell(request: web.Request) -> web.Response:
    """OPTIONS /attachments."""
    most_bytes = request.app[SERVICES].files.attachments.most_bytes
    return web.Response(status=204, headers=tus.terms(most_bytes))


async def begin(request: web.Request) -> web.Response:
    """POST /attachments."""
    length = tus.number(request, "Upload-Length")
    begun = await request.app[SERVICES].files.attachments.begin(request[CALLER], length)
    request[GRANTS] = list(begun.grants)
    place = f"{request.path.rstrip('/')}/{begun.attachment.attachment_id}"
    return web.Response(status=201, headers={**tus.progress(begun.attachment), "Location": place})


async def look(request: web.Request) -> web.Response:
    """HEAD /attachments/{attachmentId}."""
    found = await request.app[SERVICES].files.attachments.look(request[CALLER].user_id, _id(request))
    return web.Response(headers=tus.progress(found))


async def add(request: web.Request) -> web.Response:
    """PATCH /attachments/{attachmentId}."""
    offset, checksum = tus.number(request, "Upload-Offset"), tus.checksum(request)
    incoming = Incoming(offset, pieces(request), request.content_length, checksum)
    attachments, owner = request.app[SERVICES].files.attachments, request[CALLER].user_id
    longer = await attachments.add(owner, _id(request), incoming, lambda: _cut(request))
    return web.Response(status=204, headers=tus.progress(longer))


async def end(request: web.Request) -> web.Response:
    """DELETE /attachments/{attachmentId}."""
    await request.app[SERVICES].files.attachments.end(request[CALLER].user_id, _id(request))
    return web.Response(status=204)


async def fetch(request: web.Request) -> web.StreamResponse:
    """GET /attachments/{attachmentId}."""
    attachments = request.app[SERVICES].files.attachments
    found = await attachments.find(_id(request))
    headers = ranges.facts(found)
    if ranges.is_known(request, found):
        return web.Response(status=304, headers=headers)
    span = ranges.wanted(request, found)
    headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(span.length)}
    if span.is_part:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{found.length}"
    response = web.StreamResponse(status=206 if span.is_part else 200, headers=headers)
    reader = request[CALLER].user_id
    content = attachments.read(reader, found, span.start, span.length, lambda: _cut(request))
    return await sent(request, response, content)


def _cut(request: web.Request) -> None:
    """End the connection: another transfer needs the place of this one, which goes on later where it was."""
    if request.transport is not None:
        request.transport.abort()


def _id(request: web.Request) -> AttachmentId:
    return AttachmentId(named(request, "attachmentId"))
