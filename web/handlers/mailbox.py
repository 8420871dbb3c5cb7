"""The mailbox over REST: for devices that hold no socket."""

import asyncio
from datetime import datetime
from typing import Final

import orjson
from aiohttp import web

from vyry.accounts.account import Caller
from vyry.clock import to_milliseconds
from vyry.mail.mailbox import Page
from vyry.mail.store import Acknowledgement
from vyry.mail.store import Cursor as MailboxCursor
from web.app_keys import CALLER, SERVICES, SOCKET_HUB
from web.wire.entries import wire_entries
from web.wire.mailbox import Acknowledge, Acknowledged, Cursor, MailboxQuery, Park
from web.wire.shapes import Nothing, to_base64
from web.wire.strict import json_response, read_body, read_query


#: A hint may be lost: a long poll looks for itself this often.
POLL_CHECK_SECONDS: Final = 1.0


async def page(request: web.Request) -> web.Response:
    """GET /mailbox."""
    query = read_query(request, MailboxQuery)
    caller = request[CALLER]
    await request.app[SERVICES].depositor.flush(caller.mailbox)
    found = await request.app[SERVICES].mailboxes.page(caller.mailbox, query.after, query.limit)
    if not found.entries and query.wait:
        found = await _wait_for_entries(request, caller, query)
    return _page_response(found, request.app[SERVICES].clock.confirmed_now())


async def acknowledge(request: web.Request) -> web.Response:
    """POST /mailbox/acknowledge."""
    body = await read_body(request, Acknowledge)
    mailbox = request[CALLER].mailbox
    sent = request.app[SOCKET_HUB].sent_seq(mailbox)
    cursor = await request.app[SERVICES].mailboxes.acknowledge_and_wait(
        Acknowledgement(mailbox, body.seq, body.head, sent)
    )
    request.app[SOCKET_HUB].release_acknowledged(mailbox, cursor.seq)
    return json_response(Acknowledged(cursor=Cursor(seq=cursor.seq, head=cursor.head)))


async def park(request: web.Request) -> web.Response:
    """POST /mailbox/park."""
    body = await read_body(request, Park)
    await request.app[SERVICES].mailboxes.discard(request[CALLER].mailbox, body.seq)
    return json_response(Nothing())


async def _wait_for_entries(request: web.Request, caller: Caller, query: MailboxQuery) -> Page:
    """The first page with something in it, or the empty one at the end of the wait or when the device polls again. Raises InvalidToken if the session ends meanwhile."""
    mailboxes = request.app[SERVICES].mailboxes
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait
    async with request.app[SOCKET_HUB].collector.register_poll(caller.mailbox) as poll:
        while True:
            poll.wake_event.clear()
            found = await mailboxes.page(caller.mailbox, query.after, query.limit)
            # Who began to wait may have lost the session meanwhile: what came since is not theirs.
            await request.app[SERVICES].sessions.check_still_valid(caller)
            left = until - loop.time()
            if found.entries or left <= 0 or poll.is_displaced or request.app[SOCKET_HUB].is_draining:
                return found
            try:
                async with asyncio.timeout(min(left, POLL_CHECK_SECONDS)):
                    await poll.wake_event.wait()
            except TimeoutError:
                continue


def _page_response(found: Page, now: datetime) -> web.Response:
    body = {
        "entries": wire_entries(found.entries, to_base64, to_milliseconds(now)),
        "drained": found.is_drained,
        "cursor": _cursor(found.state.acknowledged),
        "mailboxId": str(found.state.mailbox_id),
        "lastMessageId": found.last_message_id and str(found.last_message_id),
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _cursor(cursor: MailboxCursor) -> dict[str, object]:
    return {"seq": cursor.seq, "head": to_base64(cursor.head)}
