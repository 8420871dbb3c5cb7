"""Posting over REST, and what became of a post."""

from aiohttp import web

from vyry.kernel.ids import MessageId
from vyry.limits import POST, POST_BYTES
from vyry.mail.draft import Sender, content_bytes
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.messages import Accepted, MessageFate, Post, Skipped, fate_shape
from web.wire.strict import json_response, path_id, read_body


async def post(request: web.Request) -> web.Response:
    """POST /messages."""
    draft = await read_body(request, Post)
    caller = request[CALLER]
    subject, buckets = str(caller.user_id), request.app[SERVICES].buckets
    buckets.consume(subject, (POST, 1), (POST_BYTES, content_bytes(draft)))
    request[GRANTS] = [(quota.name, buckets.peek(quota, subject)) for quota in (POST, POST_BYTES)]
    sender = Sender(caller.user_id, caller.device_id, caller.mailbox)
    accepted = await request.app[SERVICES].posting.post_and_wait(sender, draft)
    return json_response(
        Accepted(
            message_id=accepted.message_id,
            accepted_at=accepted.accepted_at,
            copies=accepted.copies,
            is_repeat=accepted.is_repeat,
            skipped=[
                Skipped(user_id=a.user_id, device_id=a.device_id, reason="MAILBOX_FULL") for a in accepted.skipped
            ],
        )
    )


async def fate(request: web.Request) -> web.Response:
    """GET /messages/{messageId}."""
    message_id = MessageId(path_id(request, "messageId"))
    fates = await request.app[SERVICES].contacts.receipts.list_receipts(request[CALLER].user_id, message_id)
    return json_response(MessageFate(copies=[fate_shape(each) for each in fates]))
