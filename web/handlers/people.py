"""Finding people."""

from aiohttp import web

from vyry.kernel.ids import UserId
from vyry.limits import LOOKUP, SEARCH
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.people import FoundByNumbers, LookUp, Person, PublicProfile
from web.wire.strict import json_response, path_id, read_body


async def by_username(request: web.Request) -> web.Response:
    """GET /users/by-username/{username}."""
    people = request.app[SERVICES].contacts.discovery
    request[GRANTS] = [(SEARCH.name, await people.consume_search_quota(request[CALLER]))]
    return json_response(
        Person.from_domain(await people.find_by_username(request[CALLER], request.match_info["username"]))
    )


async def look_up(request: web.Request) -> web.Response:
    """POST /users/lookup."""
    body = await read_body(request, LookUp)
    found = await request.app[SERVICES].contacts.discovery.find_by_numbers(request[CALLER], body.phone_numbers)
    request[GRANTS] = [(LOOKUP.name, found.grant)]
    return json_response(FoundByNumbers.from_domain(found))


async def profile(request: web.Request) -> web.Response:
    """GET /users/{userId}."""
    people = request.app[SERVICES].contacts.discovery
    return json_response(
        PublicProfile.from_domain(await people.load_profile(request[CALLER], UserId(path_id(request, "userId"))))
    )
