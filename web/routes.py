"""The whole surface as one table: what the app serves, OpenAPI describes and docs/protocol.md promises. Rows are added here and nowhere else."""

from typing import Final

from vyry.errors import (
    Forbidden,
    IdempotencyMismatch,
    IdentityMismatch,
    InvalidKeys,
    InvalidOtp,
    InvalidToken,
    MailboxFull,
    NotAMember,
    NotFound,
    RateLimited,
    StaleDevices,
    StaleHead,
    Unavailable,
    UsernameTaken,
)
from vyry.limits import CLAIM_TARGET, NEW_CONTACTS, OTP_NUMBER, POST
from web.handlers import account, auth, conversations, devices, documents, health, keys, mailbox, messages
from web.keys import Route
from web.live.socket import open_socket
from web.wire.account import Account, ChangeAccount
from web.wire.auth import CodeSent, RefreshTokens, RequestOtp, Session, SocketQuery, Tokens, VerifyOtp, WsTicket
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation
from web.wire.devices import Device, Devices, DevicesPage, RenameDevice
from web.wire.health import Health, Ready
from web.wire.keys import Claim, ClaimedBundles, KeyListing, KeySet, KeyStatus, MoreKeys
from web.wire.mailbox import Acknowledge, Acknowledged, MailboxPage, MailboxQuery, Park
from web.wire.messages import Accepted, MessageFate, Post
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    # Open routes without prefix
    Route(
        method="GET",
        path="/health",
        handler=health.alive,
        summary="Whether this process runs",
        auth="open",
        answers={200: Health},
    ),
    Route(
        method="GET",
        path="/ready",
        handler=health.ready,
        summary="Whether this process is ready for work, with a line for each thing it depends on",
        auth="open",
        answers={200: Ready},
        refusals=(Unavailable,),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=documents.openapi,
        summary="This document",
        auth="open",
        answers={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/asyncapi.json",
        handler=documents.asyncapi,
        summary="The frames of the socket as AsyncAPI 3.0",
        auth="open",
        answers={200: "application/json"},
    ),
    Route(
        method="GET",
        path="/docs",
        handler=documents.docs,
        summary="All of it for people",
        auth="open",
        answers={200: "text/html"},
    ),
    # Sign-up and sessions
    Route(
        method="POST",
        path="/api/v1/auth/request-otp",
        handler=auth.request_otp,
        summary="Send a one-time code to a number, known or not",
        auth="open",
        body=RequestOtp,
        answers={200: CodeSent},
        quota=OTP_NUMBER,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/verify-otp",
        handler=auth.verify_otp,
        summary="Sign up with the code: a new primary device; all others of the account end",
        auth="open",
        body=VerifyOtp,
        answers={200: Session},
        refusals=(InvalidOtp,),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/refresh-token",
        handler=auth.refresh_token,
        summary="Exchange the refresh token for new tokens; used twice, it ends its whole family",
        auth="open",
        body=RefreshTokens,
        answers={200: Tokens},
        refusals=(InvalidToken,),
    ),
    Route(
        method="POST",
        path="/api/v1/auth/logout",
        handler=auth.logout,
        summary="End this device: tokens, sockets, keys and mailbox",
        answers={200: Nothing},
    ),
    Route(
        method="POST",
        path="/api/v1/auth/ws-ticket",
        handler=auth.ws_ticket,
        summary="A ticket that opens one socket, for clients that can set no headers",
        answers={200: WsTicket},
    ),
    # Account
    Route(
        method="GET",
        path="/api/v1/account",
        handler=account.show,
        summary="The caller's account",
        answers={200: Account},
    ),
    Route(
        method="PATCH",
        path="/api/v1/account",
        handler=account.change,
        summary="Change what is named; null clears",
        body=ChangeAccount,
        answers={200: Account},
        refusals=(UsernameTaken,),
    ),
    # Devices
    Route(
        method="GET",
        path="/api/v1/devices",
        handler=devices.show,
        summary="The devices of the caller's account",
        query=DevicesPage,
        answers={200: Devices},
    ),
    Route(
        method="PATCH",
        path="/api/v1/devices/{deviceId}",
        handler=devices.rename,
        summary="Give a device of the caller's account another name",
        body=RenameDevice,
        answers={200: Device},
        refusals=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/devices/{deviceId}",
        handler=devices.end,
        summary="End a device: the primary any, a linked one itself",
        answers={200: Nothing},
        refusals=(Forbidden, NotFound),
    ),
    # Keys
    Route(
        method="PUT",
        path="/api/v1/keys",
        handler=keys.replace,
        summary="Publish this device's whole key set in the place of the present one",
        body=KeySet,
        answers={200: KeyStatus},
        refusals=(InvalidKeys, IdentityMismatch),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/prekeys",
        handler=keys.refill,
        summary="Add prekeys to this device's set",
        body=MoreKeys,
        answers={200: KeyStatus},
        refusals=(InvalidKeys,),
    ),
    Route(
        method="GET",
        path="/api/v1/keys/status",
        handler=keys.status,
        summary="What the node holds for this device",
        answers={200: KeyStatus},
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{userId}",
        handler=keys.show,
        summary="An account's identity key and its devices with keys; consumes nothing",
        answers={200: KeyListing},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{userId}/claim",
        handler=keys.claim,
        summary="Bundles to begin sessions with an account's devices; one-time keys in them are never given again",
        body=Claim,
        is_body_optional=True,
        answers={200: ClaimedBundles},
        refusals=(NotFound,),
        quota=CLAIM_TARGET,
    ),
    # Conversations
    Route(
        method="POST",
        path="/api/v1/conversations",
        handler=conversations.open_one,
        summary="Open the direct conversation with somebody; 200 if there is one already",
        body=OpenConversation,
        answers={201: ConversationView, 200: ConversationView},
        refusals=(NotFound,),
        quota=NEW_CONTACTS,
    ),
    Route(
        method="GET",
        path="/api/v1/conversations",
        handler=conversations.index,
        summary="The caller's conversations, newest made first",
        query=ConversationsQuery,
        answers={200: ConversationList},
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/{conversationId}",
        handler=conversations.show,
        summary="A conversation the caller belongs to",
        answers={200: ConversationView},
        refusals=(NotFound,),
    ),
    # Messages
    Route(
        method="POST",
        path="/api/v1/messages",
        handler=messages.post,
        summary="Post to devices: durable once answered; the same messageId again gives the same answer",
        body=Post,
        answers={200: Accepted},
        refusals=(NotAMember, NotFound, StaleDevices, IdempotencyMismatch, MailboxFull, RateLimited),
        quota=POST,
    ),
    Route(
        method="GET",
        path="/api/v1/messages/{messageId}",
        handler=messages.fate,
        summary="What became of each copy of a message of this account",
        answers={200: MessageFate},
        refusals=(NotFound,),
    ),
    # Mailbox
    Route(
        method="GET",
        path="/api/v1/mailbox",
        handler=mailbox.page,
        summary="Entries behind a number; waits for some when asked to",
        query=MailboxQuery,
        answers={200: MailboxPage},
        refusals=(StaleHead,),
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/acknowledge",
        handler=mailbox.acknowledge,
        summary="Everything up to this point is safe with the device",
        body=Acknowledge,
        answers={200: Acknowledged},
        refusals=(StaleHead,),
    ),
    Route(
        method="POST",
        path="/api/v1/mailbox/park",
        handler=mailbox.park,
        summary="Set one entry aside that the device can do nothing with",
        body=Park,
        answers={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/ws",
        handler=open_socket,
        summary="The socket (see /asyncapi.json)",
        auth="socket",
        query=SocketQuery,
        answers={101: None},
        refusals=(Forbidden,),
    ),
)
