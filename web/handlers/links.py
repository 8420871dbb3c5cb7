"""Linking a device: what the new one asks, and what a device of the account does with it."""

from aiohttp import web

from vyry.accounts.account import Platform
from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from vyry.devices.linking import Question
from vyry.limits import LINK_SESSIONS
from web.auth import client_address
from web.keys import CALLER, GRANTS, SERVICES, SWITCHBOARD
from web.wire.auth import Session
from web.wire.links import ApproveLink, CompleteLink, Link, LinkWait, NewLink, OpenLink, ScanLink, Scanned
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters, read


async def create(request: web.Request) -> web.Response:
    """POST /devices/links."""
    body = await read(request, NewLink)
    linking = request.app[SERVICES].linking
    opened = await linking.open(body.public_key, body.name, Platform(body.platform), client_address(request))
    request[GRANTS] = [(LINK_SESSIONS.name, opened.grant)]
    return answer(OpenLink.of(opened), 201)


async def show(request: web.Request) -> web.Response:
    """GET /devices/links/{linkId}: for the device that holds the link's secret."""
    wait, switchboard = parameters(request, LinkWait).wait, request.app[SWITCHBOARD]
    question = Question(
        named(request, "linkId"),
        request.headers.get("X-Link-Secret", ""),
        wait,
        lambda: request.transport is not None and not switchboard.is_draining,
    )
    return answer(Link.of(await request.app[SERVICES].linking.follow(question)))


async def scan(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/scan."""
    body = await read(request, ScanLink)
    linking, link_id = request.app[SERVICES].linking, named(request, "linkId")
    return answer(Scanned.of(await linking.scan(request[CALLER], link_id, body.public_key)))


async def approve(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/approve."""
    body = await read(request, ApproveLink)
    services, link_id = request.app[SERVICES], named(request, "linkId")
    await services.linking.approve(request[CALLER], link_id, body.provisioning, body.pin)
    request[GRANTS] = checks_left(services.buckets, Guesser.of(request[CALLER]))
    return answer(Nothing())


async def reject(request: web.Request) -> web.Response:
    """POST /devices/links/{linkId}/reject."""
    await request.app[SERVICES].linking.reject(request[CALLER], named(request, "linkId"))
    return answer(Nothing())


async def complete(request: web.Request) -> web.Response:
    """POST /devices/links/complete: a session on the new device."""
    body = await read(request, CompleteLink)
    made = await request.app[SERVICES].linking.complete(body.link_token, body.value())
    return answer(Session.begun(made))
