"""Linking a device to the account of another."""

from typing import Final

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
from web.app_keys import Route
from web.handlers import links
from web.wire.auth import Session
from web.wire.links import ApproveLink, CompleteLink, Link, LinkWait, NewLink, OpenLink, ScanLink, Scanned
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/devices/links",
        operation="links.create",
        handler=links.create,
        summary="Ask to be linked: a new device gets a link for 120 s",
        auth="open",
        body=NewLink,
        responses={201: OpenLink},
        quota=LINK_SESSIONS,
    ),
    Route(
        method="GET",
        path="/api/v1/devices/links/{linkId}",
        operation="links.show",
        handler=links.show,
        summary="How a link stands, for the device that holds its secret; waits for news",
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
        handler=links.scan,
        summary="Take a link for the caller's account; only once, and for nobody else from then on",
        body=ScanLink,
        responses={200: Scanned},
        refusals=(NotFound, AlreadyUsed),
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/{linkId}/approve",
        operation="links.approve",
        handler=links.approve,
        summary="Let the new device in, with the PIN if one is set; only by the device that scanned",
        body=ApproveLink,
        responses={200: Nothing},
        refusals=(Forbidden, InvalidPin, NotFound, AlreadyUsed, DeviceLimit, PinLocked),
        quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/{linkId}/reject",
        operation="links.reject",
        handler=links.reject,
        summary="Keep the new device out, approved or not",
        responses={200: Nothing},
        refusals=(NotFound, AlreadyUsed),
    ),
    Route(
        method="POST",
        path="/api/v1/devices/links/complete",
        operation="links.complete",
        handler=links.complete,
        summary="Come to life with the link's token and a whole key set: a session of the new device",
        auth="open",
        body=CompleteLink,
        responses={200: Session},
        refusals=(InvalidKeys, InvalidToken, AlreadyUsed, DeviceLimit, IdentityMismatch, RateLimited),
    ),
)
