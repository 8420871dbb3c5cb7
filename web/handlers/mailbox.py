"""The mailbox over REST: for devices that hold no socket."""

import asyncio
from datetime import datetime
from typing import Final

import orjson
from aiohttp import web

from vyry.accounts.account import Caller
from vyry.clock import milliseconds
from vyry.mail.mailbox import Page
from vyry.mail.store import Cursor as MailboxCursor
from vyry.mail.store import Point
from web.keys import CALLER, SERVICES, SWITCHBOARD
from web.wire.entries import wire_entries
from web.wire.mailbox import Acknowledge, Acknowledged, Cursor, MailboxQuery, Park
from web.wire.shapes import Nothing, to_base64
from web.wire.strict import answer, parameters, read


#: A hint may be lost: a long poll looks for itself this often.
LOOK_SECONDS: Final = 1.0


async def page(request: web.Request) -> web.Response:
    """GET /mailbox."""
    query = parameters(request, MailboxQuery)
    caller = request[CALLER]
    await request.app[SERVICES].depositor.settle(caller.mailbox)
    found = await request.app[SERVICES].mailboxes.page(caller.mailbox, query.after, query.limit)
    if not found.entries and query.wait:
        found = await _wait(request, caller, query)
    return _answer(found, request.app[SERVICES].clock.confirmed())


async def acknowledge(request: web.Request) -> web.Response:
    """POST /mailbox/acknowledge."""
    body = await read(request, Acknowledge)
    mailbox = request[CALLER].mailbox
    sent = request.app[SWITCHBOARD].sent(mailbox)
    cursor = await request.app[SERVICES].mailboxes.acknowledged(Point(mailbox, body.seq, body.head, sent))
    request.app[SWITCHBOARD].acknowledged(mailbox, cursor.seq)
    return answer(Acknowledged(cursor=Cursor(seq=cursor.seq, head=cursor.head)))


async def park(request: web.Request) -> web.Response:
    """POST /mailbox/park."""
    body = await read(request, Park)
    await request.app[SERVICES].mailboxes.park(request[CALLER].mailbox, body.seq)
    return answer(Nothing())


async def _wait(request: web.Request, caller: Caller, query: MailboxQuery) -> Page:
    """The first page with something in it, or the empty one at the end of the wait or when the device polls again. Raises InvalidToken if the session ends meanwhile."""
    mailboxes = request.app[SERVICES].mailboxes
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait
    async with request.app[SWITCHBOARD].collector.polling(caller.mailbox) as poll:
        while True:
            poll.news.clear()
            found = await mailboxes.page(caller.mailbox, query.after, query.limit)
            # Who began to wait may have lost the session meanwhile: what came since is not theirs.
            await request.app[SERVICES].sessions.confirm(caller)
            left = until - loop.time()
            if found.entries or left <= 0 or poll.is_displaced or request.app[SWITCHBOARD].is_draining:
                return found
            try:
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await poll.news.wait()
            except TimeoutError:
                continue


def _answer(found: Page, now: datetime) -> web.Response:
    body = {
        "entries": wire_entries(found.entries, to_base64, milliseconds(now)),
        "drained": found.is_drained,
        "cursor": _cursor(found.state.acknowledged),
        "mailboxId": str(found.state.mailbox_id),
        "lastMessageId": found.last_message_id and str(found.last_message_id),
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _cursor(cursor: MailboxCursor) -> dict[str, object]:
    return {"seq": cursor.seq, "head": to_base64(cursor.head)}
