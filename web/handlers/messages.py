"""Posting over REST, and what became of a post."""

from aiohttp import web

from vyry.ids import MessageId
from vyry.limits import POST, POST_BYTES
from vyry.mail.draft import Sender, content_bytes
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.messages import Accepted, MessageFate, Post, Skipped, shown
from web.wire.strict import answer, named, read


async def post(request: web.Request) -> web.Response:
    """POST /messages."""
    draft = await read(request, Post)
    caller = request[CALLER]
    subject, buckets = str(caller.user_id), request.app[SERVICES].buckets
    buckets.take(subject, (POST, 1), (POST_BYTES, content_bytes(draft)))
    request[GRANTS] = [(quota.name, buckets.peek(quota, subject)) for quota in (POST, POST_BYTES)]
    sender = Sender(caller.user_id, caller.device_id, caller.mailbox)
    accepted = await request.app[SERVICES].post_office.accept(sender, draft)
    return answer(
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
    message_id = MessageId(named(request, "messageId"))
    fates = await request.app[SERVICES].circles.receipts.of(request[CALLER].user_id, message_id)
    return answer(MessageFate(copies=[shown(each) for each in fates]))
