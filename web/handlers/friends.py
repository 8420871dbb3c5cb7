"""Friends and those who ask to be."""

from aiohttp import web

from vyry.circles.friends import Direction
from vyry.ids import UserId
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.people import AskedFriend, AskFriend, FriendList, PeopleQuery, RequestList, RequestsQuery
from web.wire.shapes import Nothing
from web.wire.strict import answer, named, parameters, read


async def ask(request: web.Request) -> web.Response:
    """POST /friends/requests."""
    user_id = UserId((await read(request, AskFriend)).user_id)
    asked = await request.app[SERVICES].circles.friends.ask(request[CALLER], user_id)
    request[GRANTS] = list(asked.grants)
    return answer(AskedFriend(user_id=user_id, status="friends" if asked.are_friends else "requested"), status=201)


async def requests(request: web.Request) -> web.Response:
    """GET /friends/requests."""
    query = parameters(request, RequestsQuery)
    friends, direction = request.app[SERVICES].circles.friends, Direction(query.direction)
    after = UserId(query.cursor) if query.cursor else None
    return answer(RequestList.of(await friends.requests(request[CALLER], direction, query.limit, after)))


async def accept(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/accept."""
    await request.app[SERVICES].circles.friends.accept(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())


async def decline(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/decline."""
    await request.app[SERVICES].circles.friends.decline(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())


async def cancel(request: web.Request) -> web.Response:
    """DELETE /friends/requests/{userId}."""
    await request.app[SERVICES].circles.friends.cancel(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())


async def index(request: web.Request) -> web.Response:
    """GET /friends."""
    query = parameters(request, PeopleQuery)
    friends = request.app[SERVICES].circles.friends
    after = UserId(query.cursor) if query.cursor else None
    return answer(FriendList.of(await friends.list(request[CALLER], query.limit, after)))


async def part(request: web.Request) -> web.Response:
    """DELETE /friends/{userId}."""
    await request.app[SERVICES].circles.friends.part(request[CALLER], UserId(named(request, "userId")))
    return answer(Nothing())
