"""Messages and the mailbox over REST, for devices without a socket (docs/protocol.md, "Post" and "Mailbox")."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vyry.accounts.account import Caller
from vyry.errors import (
    IdempotencyMismatch,
    MailboxFull,
    NotAMember,
    NotFound,
    RateLimited,
    StaleDevices,
    StaleHead,
)
from vyry.kernel.ids import MessageId
from vyry.kernel.time import to_milliseconds
from vyry.limits import DEVICE_REQUESTS, POST, POST_BYTES
from vyry.mail.draft import Sender, content_bytes
from vyry.mail.mailbox import Page
from vyry.mail.receipts import Receipt as AccountReceipt
from vyry.mail.store import Acknowledgement, CopyStatus
from web.app_keys import CALLER, GRANTS, SERVICES, SOCKET_HUB
from web.bodies import json_response, path_id, read_body, read_frequent_body, read_query
from web.route import Route
from web.wire.fast_frames import read_json_post
from web.wire.mailbox import Acknowledge, Acknowledged, Cursor, Entry, Park, cursor_payload, wire_entries
from web.wire.messages import Accepted, CopyFate, Post, Receipt, accepted_payload
from web.wire.shapes import (
    Count,
    Id,
    Nothing,
    PageLimit,
    WireModel,
)


#: A hint may be lost, so a long poll reads the mailbox this often.
POLL_CHECK_SECONDS: Final = 1.0


class MessageFate(WireModel):
    """Status of each copy of a message."""

    copies: list[CopyFate | Receipt]


def copy_status_shape(copy: CopyStatus | AccountReceipt) -> CopyFate | Receipt:
    """The shape of a copy's status."""
    if isinstance(copy, AccountReceipt):
        return Receipt(user_id=copy.user_id, state=copy.state.value, at=copy.at)
    address = copy.address
    return CopyFate(user_id=address.user_id, device_id=address.device_id, state=copy.state.value, at=copy.since)


class MailboxQuery(WireModel):
    """The sequence number to read after, the page size, and how many seconds to wait for an entry."""

    after: Count = 0
    limit: PageLimit = 100
    wait: Annotated[int, Field(ge=0, le=30)] = 0


class MailboxPage(WireModel):
    """Entries in order; `drained` if no entry follows; `cursor` is the acknowledged one.

    `lastMessageId` is the last message accepted from this device: a device that does not know this id runs on an older copy of its state.
    """

    entries: list[Entry]
    drained: bool
    cursor: Cursor
    mailbox_id: Id
    last_message_id: Id | None


async def post(request: web.Request) -> web.Response:
    """POST /messages."""
    draft = await read_frequent_body(request, Post, read_json_post)
    caller = request[CALLER]
    subject, buckets = str(caller.user_id), request.app[SERVICES].buckets
    buckets.consume(subject, (POST, 1), (POST_BYTES, content_bytes(draft)))
    request[GRANTS] = [(quota.name, buckets.peek(quota, subject)) for quota in (POST, POST_BYTES)]
    sender = Sender(caller.user_id, caller.device_id, caller.mailbox)
    accepted = await request.app[SERVICES].posting.post_and_wait(sender, draft)
    return json_response(accepted_payload(accepted))


async def show_status(request: web.Request) -> web.Response:
    """GET /messages/{messageId}."""
    message_id = MessageId(path_id(request, "messageId"))
    copies = await request.app[SERVICES].contacts.receipts.list_receipts(request[CALLER].user_id, message_id)
    return json_response(MessageFate(copies=[copy_status_shape(each) for each in copies]))


async def read_mailbox(request: web.Request) -> web.Response:
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
    return json_response({"cursor": cursor_payload(cursor)})


async def park(request: web.Request) -> web.Response:
    """POST /mailbox/park."""
    body = await read_body(request, Park)
    await request.app[SERVICES].mailboxes.discard(request[CALLER].mailbox, body.seq)
    return json_response(Nothing())


async def _wait_for_entries(request: web.Request, caller: Caller, query: MailboxQuery) -> Page:
    """The first page with an entry, or an empty one when the wait ends or the device polls again. Raises InvalidToken if the session ends meanwhile."""
    mailboxes = request.app[SERVICES].mailboxes
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait
    async with request.app[SOCKET_HUB].collector.register_poll(caller.mailbox) as poll:
        while True:
            poll.wake_event.clear()
            found = await mailboxes.page(caller.mailbox, query.after, query.limit)
            # The session may have ended during the wait: its device must not read later entries.
            await request.app[SERVICES].sessions.check_still_valid(caller)
            left = until - loop.time()
            if found.entries or left <= 0 or poll.is_displaced or request.app[SOCKET_HUB].is_draining:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL_CHECK_SECONDS)):
                    await poll.wake_event.wait()


def _page_response(found: Page, now: datetime) -> web.Response:
    body = {
        "entries": wire_entries(found.entries, to_milliseconds(now)),
        "drained": found.is_drained,
        "cursor": cursor_payload(found.state.acknowledged),
        "mailboxId": str(found.state.mailbox_id),
        "lastMessageId": found.last_message_id and str(found.last_message_id),
    }
    return json_response(body)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/messages",
        operation="messages.post",
        handler=post,
        summary="Post to devices: durable once answered; a repeated messageId gives the same response",
        body=Post,
        responses={200: Accepted},
        refusals=(NotAMember, NotFound, StaleDevices, IdempotencyMismatch, MailboxFull, RateLimited),
        documented_quota=POST,
        cost=0,
    ),
    Route(
        method="GET",
        path="/api/v1/messages/{messageId}",
        operation="messages.fate",
        handler=show_status,
        summary="Status of a message of this account: each own copy, and one receipt per other account",
        responses={200: MessageFate},
        refusals=(NotFound,),
        cost=100,
        bytes_per_cost=256,
    ),
    Route(
        method="GET",
        path="/api/v1/mailbox",
        operation="mailbox.page",
        handler=read_mailbox,
        summary="Entries after a sequence number (long poll)",
        query=MailboxQuery,
        responses={200: MailboxPage},
        refusals=(StaleHead,),
        shared_quota=DEVICE_REQUESTS,
        # Reading mail is the node's purpose, so its bytes cost little.
        bytes_per_cost=64 << 10,
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/acknowledge",
        operation="mailbox.acknowledge",
        handler=acknowledge,
        summary="Acknowledge entries up to a cursor: the device has stored them",
        body=Acknowledge,
        responses={200: Acknowledged},
        refusals=(StaleHead,),
        shared_quota=DEVICE_REQUESTS,
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/park",
        operation="mailbox.park",
        handler=park,
        summary="Discard one entry that the device cannot process",
        body=Park,
        responses={200: Nothing},
        refusals=(NotFound,),
        shared_quota=DEVICE_REQUESTS,
    ),
)
