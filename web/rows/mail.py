"""Messages and the mailbox."""

from typing import Final

from vyry.errors import (
    Forbidden,
    IdempotencyMismatch,
    MailboxFull,
    NotAMember,
    NotFound,
    RateLimited,
    StaleDevices,
    StaleHead,
)
from vyry.limits import DEVICE_REQUESTS, POST, SOCKETS_ACCOUNT
from web.app_keys import Route
from web.handlers import mailbox, messages
from web.live.socket import open_socket
from web.wire.auth import SocketQuery
from web.wire.mailbox import Acknowledge, Acknowledged, MailboxPage, MailboxQuery, Park
from web.wire.messages import Accepted, MessageFate, Post
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/messages",
        operation="messages.post",
        handler=messages.post,
        summary="Post to devices: durable once answered; the same messageId again gives the same answer",
        body=Post,
        responses={200: Accepted},
        refusals=(NotAMember, NotFound, StaleDevices, IdempotencyMismatch, MailboxFull, RateLimited),
        quota=POST,
        cost=0,
    ),
    Route(
        method="GET",
        path="/api/v1/messages/{messageId}",
        operation="messages.fate",
        handler=messages.fate,
        summary="What became of a message of this account: each own copy, and one receipt for each other account",
        responses={200: MessageFate},
        refusals=(NotFound,),
        cost=100,
        bytes_per_cost=256,
    ),
    Route(
        method="GET",
        path="/api/v1/mailbox",
        operation="mailbox.page",
        handler=mailbox.page,
        summary="Entries behind a number; waits for some when asked to",
        query=MailboxQuery,
        responses={200: MailboxPage},
        refusals=(StaleHead,),
        shared_quota=DEVICE_REQUESTS,
        # Mail is what the node is for.
        bytes_per_cost=64 << 10,
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/acknowledge",
        operation="mailbox.acknowledge",
        handler=mailbox.acknowledge,
        summary="Everything up to this point is safe with the device",
        body=Acknowledge,
        responses={200: Acknowledged},
        refusals=(StaleHead,),
        shared_quota=DEVICE_REQUESTS,
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/park",
        operation="mailbox.park",
        handler=mailbox.park,
        summary="Set one entry aside that the device can do nothing with",
        body=Park,
        responses={200: Nothing},
        refusals=(NotFound,),
        shared_quota=DEVICE_REQUESTS,
    ),
    Route(
        method="GET",
        path="/api/v1/ws",
        operation="socket.open_socket",
        handler=open_socket,
        summary="The socket (see /asyncapi.json)",
        auth="socket",
        query=SocketQuery,
        responses={101: None},
        refusals=(Forbidden,),
        quota=SOCKETS_ACCOUNT,
    ),
)
