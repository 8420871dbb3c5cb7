"""Friends and those who ask to be."""

from aiohttp import web

from vyry.contacts.friends import RequestDirection
from vyry.kernel.ids import UserId
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.people import AskedFriend, AskFriend, FriendList, PeopleQuery, RequestList, RequestsQuery
from web.wire.shapes import Nothing
from web.wire.strict import json_response, path_id, read_body, read_query


async def ask(request: web.Request) -> web.Response:
    """POST /friends/requests."""
    user_id = UserId((await read_body(request, AskFriend)).user_id)
    asked = await request.app[SERVICES].contacts.friends.send_request(request[CALLER], user_id)
    request[GRANTS] = list(asked.grants)
    return json_response(
        AskedFriend(user_id=user_id, status="friends" if asked.are_friends else "requested"), status=201
    )


async def requests(request: web.Request) -> web.Response:
    """GET /friends/requests."""
    query = read_query(request, RequestsQuery)
    friends, direction = request.app[SERVICES].contacts.friends, RequestDirection(query.direction)
    after = UserId(query.cursor) if query.cursor else None
    return json_response(
        RequestList.from_domain(await friends.list_requests(request[CALLER], direction, query.limit, after))
    )


async def accept(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/accept."""
    await request.app[SERVICES].contacts.friends.accept(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())


async def decline(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/decline."""
    await request.app[SERVICES].contacts.friends.decline(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())


async def cancel(request: web.Request) -> web.Response:
    """DELETE /friends/requests/{userId}."""
    await request.app[SERVICES].contacts.friends.cancel(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())


async def index(request: web.Request) -> web.Response:
    """GET /friends."""
    query = read_query(request, PeopleQuery)
    friends = request.app[SERVICES].contacts.friends
    after = UserId(query.cursor) if query.cursor else None
    return json_response(FriendList.from_domain(await friends.list_friends(request[CALLER], query.limit, after)))


async def part(request: web.Request) -> web.Response:
    """DELETE /friends/{userId}."""
    await request.app[SERVICES].contacts.friends.remove(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(Nothing())
