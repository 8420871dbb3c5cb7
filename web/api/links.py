"""Linking a new device to an account (docs/protocol.md, "Linking"). The node never reads `publicKey` and `provisioning`: they are for the other device."""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.accounts.account import Platform
from vyry.accounts.pin import Guesser, checks_left
from vyry.devices.linking import LinkUpdate, OpenedLink, StatusRequest
from vyry.devices.links import ScannedLink
from vyry.errors import (
    AlreadyUsed,
    DeviceLimit,
    Forbidden,
    IdentityMismatch,
    InvalidKeys,
    InvalidPin,
    InvalidToken,
    NotFound,
    PinLocked,
    RateLimited,
    Unavailable,
)
from vyry.limits import LINK_SESSIONS, PIN_CHECKS
from web.app_keys import CALLER, GRANTS, SERVICES, SOCKET_HUB
from web.auth import client_address
from web.bodies import json_response, path_id, read_body, read_query
from web.route import Route
from web.wire.account import OpaqueToken, Session
from web.wire.keys import KeySet
from web.wire.shapes import Base64, Base64Bytes, Id, Name, Nothing, Pin, PlatformName, Timestamp, WireModel


LinkKey = Annotated[bytes, Base64Bytes(32, 32)]


class NewLink(WireModel):
    """The device to link, and its single-purpose key."""

    public_key: LinkKey
    name: Name
    platform: PlatformName


class OpenLink(WireModel):
    """A link to be scanned. Only the new device may know the secret."""

    link_id: Id
    link_secret: str
    expires_at: Timestamp

    @classmethod
    def from_domain(cls, opened: OpenedLink) -> "OpenLink":
        """The shape of this domain value."""
        return cls(link_id=opened.link_id, link_secret=opened.secret, expires_at=opened.expires_at)


class LinkWait(WireModel):
    """How long to wait for a change of the link, in seconds."""

    wait: Annotated[int, Field(ge=0, le=30)] = 0


class Link(WireModel):
    """Status of a link. `provisioning` and `linkToken` are present once, in the first response with status approved."""

    status: Literal["waiting", "scanned", "approved", "rejected", "expired"]
    approver_public_key: LinkKey | None
    provisioning: Base64 | None
    link_token: str | None

    @classmethod
    def from_domain(cls, news: LinkUpdate) -> "Link":
        """The shape of this domain value."""
        return cls.model_validate(
            {
                "status": news.status.value,
                "approver_public_key": news.approver_public_key,
                "provisioning": news.provisioning,
                "link_token": news.token,
            }
        )


class ScanLink(WireModel):
    """The key of the device that scanned the link."""

    public_key: LinkKey


class Scanned(WireModel):
    """What the owner compares: the new device's key, its name and platform, and the network it requests from."""

    public_key: LinkKey
    name: str
    platform: PlatformName
    requested_from: str
    expires_at: Timestamp

    @classmethod
    def from_domain(cls, scanned: ScannedLink) -> "Scanned":
        """The shape of this domain value."""
        return cls(
            public_key=scanned.public_key,
            name=scanned.name,
            platform=scanned.platform.value,
            requested_from=scanned.requested_from,
            expires_at=scanned.expires_at,
        )


class ApproveLink(WireModel):
    """Approval of the new device, after the owner compared the digits."""

    provisioning: Annotated[bytes, Base64Bytes(1, 64 << 10)]
    pin: Pin | None = None


class CompleteLink(KeySet):
    """The new device's key set; `linkToken` is valid once."""

    link_token: OpaqueToken


async def create(request: web.Request) -> web.Response:
    """POST /devices/links."""
    body = await read_body(request, NewLink)
    linking = request.app[SERVICES].linking
    opened = await linking.open(body.public_key, body.name, Platform(body.platform), client_address(request))
    request[GRANTS] = [(LINK_SESSIONS.name, opened.grant)]
    return json_response(OpenLink.from_domain(opened), 201)


async def wait_for_link(request: web.Request) -> web.Response:
    """GET /devices/links/{linkId}: for the device with the link's secret."""
    wait, hub = read_query(request, LinkWait).wait, request.app[SOCKET_HUB]
    question = StatusRequest(
        path_id(request, "linkId"),
        request.headers.get("X-Link-Secret", ""),
        wait,
        lambda: request.transport is not None and not hub.is_draining,
    )
    return json_response(Link.from_domain(await request.app[SERVICES].linking.wait_for_update(question)))


async def claim_link(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/scan."""
    body = await read_body(request, ScanLink)
    linking, link_id = request.app[SERVICES].linking, path_id(request, "linkId")
    return json_response(Scanned.from_domain(await linking.scan(request[CALLER], link_id, body.public_key)))


async def approve(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/approve."""
    body = await read_body(request, ApproveLink)
    services, link_id = request.app[SERVICES], path_id(request, "linkId")
    await services.linking.approve(request[CALLER], link_id, body.provisioning, body.pin)
    request[GRANTS] = checks_left(services.buckets, Guesser.from_caller(request[CALLER]))
    return json_response(Nothing())


async def reject(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/reject."""
    await request.app[SERVICES].linking.reject(request[CALLER], path_id(request, "linkId"))
    return json_response(Nothing())


async def complete(request: web.Request) -> web.Response:
    """POST /devices/links/complete: a session on the new device."""
    body = await read_body(request, CompleteLink)
    made = await request.app[SERVICES].linking.complete(body.link_token, body.to_domain())
    return json_response(Session.from_new_session(made))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/devices/links",
        operation="links.create",
        handler=create,
        summary="Create a link for a new device, valid for 120 s",
        auth="open",
        body=NewLink,
        responses={201: OpenLink},
        documented_quota=LINK_SESSIONS,
    ),
    Route(
        method="GET",
        path="/api/v1/devices/links/{linkId}",
        operation="links.show",
        handler=wait_for_link,
        summary="Status of a link (long poll)",
        auth="open",
        query=LinkWait,
        request_headers={"X-Link-Secret": True},
        responses={200: Link},
        refusals=(NotFound, Unavailable),
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/{linkId}/scan",
        operation="links.scan",
        handler=claim_link,
        summary="Claim a scanned link for the caller's account, once",
        body=ScanLink,
        responses={200: Scanned},
        refusals=(NotFound, AlreadyUsed),
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/{linkId}/approve",
        operation="links.approve",
        handler=approve,
        summary="Approve the new device (with the PIN if one is set); only by the device that scanned",
        body=ApproveLink,
        responses={200: Nothing},
        refusals=(Forbidden, InvalidPin, NotFound, AlreadyUsed, DeviceLimit, PinLocked),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/{linkId}/reject",
        operation="links.reject",
        handler=reject,
        summary="Reject the new device, approved or not",
        responses={200: Nothing},
        refusals=(NotFound, AlreadyUsed),
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/complete",
        operation="links.complete",
        handler=complete,
        summary="Complete linking: exchange the link token and a key set for a session",
        auth="open",
        body=CompleteLink,
        responses={200: Session},
        refusals=(InvalidKeys, InvalidToken, AlreadyUsed, DeviceLimit, IdentityMismatch, RateLimited),
    ),
)
