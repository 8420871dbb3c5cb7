"""What happens to an account: what its owner can read and take away, and its end."""

from aiohttp import web

from vyry.accounts.pin import Guesser
from vyry.accounts.pin_checks import checks_left
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.account_life import DeleteAccount, Event, Events, EventsQuery
from web.wire.export import write_archive
from web.wire.shapes import Nothing
from web.wire.streaming import send_json_stream
from web.wire.strict import json_response, read_body, read_query


async def events(request: web.Request) -> web.Response:
    """GET /account/events: newest first."""
    query = read_query(request, EventsQuery)
    before = int(query.cursor) if query.cursor else None
    page = await request.app[SERVICES].account_events.page(request[CALLER].user_id, query.limit, before)
    shown = [Event(at=each.at, name=each.name, device_id=each.device_id, detail=each.detail) for each in page.events]
    return json_response(Events(events=shown, next_cursor=None if page.next_before is None else str(page.next_before)))


async def export(request: web.Request) -> web.StreamResponse:
    """GET /account/export: written while it is read."""
    opened = await request.app[SERVICES].exports.open(request[CALLER])
    request[GRANTS] = opened.grants
    return await send_json_stream(request, write_archive(opened.started_at, opened.pages))


async def delete(request: web.Request) -> web.Response:
    """POST /account/delete: tokens and sockets end within a second, everything else is gone within a minute."""
    body = await read_body(request, DeleteAccount)
    services = request.app[SERVICES]
    await services.deletion.delete(request[CALLER], body.challenge_id, body.otp, body.pin)
    request[GRANTS] = checks_left(services.buckets, Guesser.from_caller(request[CALLER]))
    return json_response(Nothing())
