"""Linking a device: what the new one asks, and what a device of the account does with it."""

from aiohttp import web

from vyry.accounts.account import Platform
from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from vyry.devices.linking import StatusRequest
from vyry.limits import LINK_SESSIONS
from web.app_keys import CALLER, GRANTS, SERVICES, SOCKET_HUB
from web.auth import client_address
from web.wire.auth import Session
from web.wire.links import ApproveLink, CompleteLink, Link, LinkWait, NewLink, OpenLink, ScanLink, Scanned
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_body, read_query


async def create(request: web.Request) -> web.Response:
    """POST /devices/links."""
    body = await read_body(request, NewLink)
    linking = request.app[SERVICES].linking
    opened = await linking.open(body.public_key, body.name, Platform(body.platform), client_address(request))
    request[GRANTS] = [(LINK_SESSIONS.name, opened.grant)]
    return json_response(OpenLink.from_domain(opened), 201)


async def show(request: web.Request) -> web.Response:
    """GET /devices/links/{linkId}: for the device that holds the link's secret."""
    wait, switchboard = read_query(request, LinkWait).wait, request.app[SOCKET_HUB]
    question = StatusRequest(
        path_id(request, "linkId"),
        request.headers.get("X-Link-Secret", ""),
        wait,
        lambda: request.transport is not None and not switchboard.is_draining,
    )
    return json_response(Link.from_domain(await request.app[SERVICES].linking.wait_for_update(question)))


async def scan(request: web.Request) -> web.Response:
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
