"""Finding people."""

from aiohttp import web

from vyry.ids import UserId
from vyry.limits import LOOKUP, SEARCH
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.people import FoundByNumbers, LookUp, Person, PublicProfile
from web.wire.strict import answer, named, read


async def by_username(request: web.Request) -> web.Response:
    """GET /users/by-username/{username}."""
    people = request.app[SERVICES].circles.people
    request[GRANTS] = [(SEARCH.name, await people.pay(request[CALLER]))]
    return answer(Person.of(await people.by_username(request[CALLER], request.match_info["username"])))


async def look_up(request: web.Request) -> web.Response:
    """POST /users/lookup."""
    body = await read(request, LookUp)
    found = await request.app[SERVICES].circles.people.lookup(request[CALLER], body.phone_numbers)
    request[GRANTS] = [(LOOKUP.name, found.grant)]
    return answer(FoundByNumbers.of(found))


async def profile(request: web.Request) -> web.Response:
    """GET /users/{userId}."""
    people = request.app[SERVICES].circles.people
    return answer(PublicProfile.of(await people.profile(request[CALLER], UserId(named(request, "userId")))))
