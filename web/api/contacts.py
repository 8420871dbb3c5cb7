"""Finding users, friends and blocks (docs/protocol.md, "People")."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.contacts import discovery as people
from vyry.contacts import friends as friendship
from vyry.contacts.blocks import BlockPage
from vyry.contacts.friends import RequestDirection
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import UserId
from vyry.limits import LOOKUP, NEW_CONTACTS, SEARCH
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import json_response, path_id, read_body, read_query
from web.route import Route
from web.wire.shapes import Base64, Id, Nothing, PageLimit, PageQuery, Timestamp, WireModel


class Person(WireModel):
    """A user in search results."""

    user_id: Id
    username: str | None
    display_name: str | None
    picture_attachment_id: Id | None

    @classmethod
    def from_domain(cls, person: people.Person) -> "Person":
        """The shape of this domain value."""
        return cls(
            user_id=person.user_id,
            username=person.username,
            display_name=person.display_name,
            picture_attachment_id=person.picture_attachment_id,
        )


class PublicProfile(WireModel):
    """A user's profile for friends and members of a shared conversation."""

    user_id: Id
    username: str | None
    display_name: str | None
    bio: str | None
    picture_attachment_id: Id | None
    sealed_profile: Base64 | None

    @classmethod
    def from_domain(cls, profile: people.PublicProfile) -> "PublicProfile":
        """The shape of this domain value."""
        return cls(
            user_id=profile.person.user_id,
            username=profile.person.username,
            display_name=profile.person.display_name,
            bio=profile.bio,
            picture_attachment_id=profile.person.picture_attachment_id,
            sealed_profile=profile.sealed_profile,
        )


class LookUp(WireModel):
    """Phone numbers in E.164, for example from an address book."""

    phone_numbers: Annotated[list[str], Field(max_length=100)]


class FoundByNumber(WireModel):
    """The discoverable user with this number."""

    phone_number: str
    user_id: Id
    display_name: str | None


class FoundByNumbers(WireModel):
    """The discoverable users, in the order of the numbers."""

    users: Sequence[FoundByNumber]

    @classmethod
    def from_domain(cls, found: people.LookupResult) -> "FoundByNumbers":
        """The shape of this domain value."""
        return cls(
            users=[
                FoundByNumber(phone_number=number.e164, user_id=person.user_id, display_name=person.display_name)
                for number, person in found.people
            ]
        )


class RequestsQuery(WireModel):
    """A page of incoming or outgoing friend requests."""

    direction: Literal["incoming", "outgoing"] = "incoming"
    limit: PageLimit = 50
    cursor: Id | None = None


class AskFriend(WireModel):
    """The user to befriend."""

    user_id: Id


class AskedFriend(WireModel):
    """The result: an open request, or a friendship."""

    user_id: Id
    status: Literal["requested", "friends"]


class Friend(Person):
    """A friend."""

    since: Timestamp


class FriendList(WireModel):
    """A page of the caller's friends."""

    friends: Sequence[Friend]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: friendship.FriendPage) -> "FriendList":
        """The shape of this domain value."""
        shown = [Friend(**dict(Person.from_domain(each.person)), since=each.since) for each in page.friends]
        return cls(friends=shown, next_cursor=page.next_cursor)


class FriendRequest(Person):
    """An open request; `userId` is the other user. The other fields of an outgoing request are null."""

    requested_at: Timestamp


class RequestList(WireModel):
    """A page of friend requests."""

    requests: Sequence[FriendRequest]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: friendship.RequestPage) -> "RequestList":
        """The shape of this domain value."""
        return cls(requests=[_request_shape(each) for each in page.requests], next_cursor=page.next_cursor)


class Block(WireModel):
    """A blocked user."""

    user_id: Id
    blocked_at: Timestamp


class BlockList(WireModel):
    """A page of blocked users."""

    blocks: Sequence[Block]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: BlockPage) -> "BlockList":
        """The shape of this domain value."""
        shown = [Block(user_id=each.user_id, blocked_at=each.at) for each in page.blocks]
        return cls(blocks=shown, next_cursor=page.next_cursor)


def _request_shape(request: friendship.FriendRequest) -> FriendRequest:
    person = request.person or people.Person(request.user_id, None, None, None)
    return FriendRequest(**dict(Person.from_domain(person)), requested_at=request.at)


async def find_by_username(request: web.Request) -> web.Response:
    """GET /users/by-username/{username}."""
    discovery = request.app[SERVICES].contacts.discovery
    request[GRANTS] = [(SEARCH.name, await discovery.consume_search_quota(request[CALLER]))]
    return json_response(
        Person.from_domain(await discovery.find_by_username(request[CALLER], request.match_info["username"]))
    )


async def find_by_numbers(request: web.Request) -> web.Response:
    """POST /users/lookup."""
    body = await read_body(request, LookUp)
    found = await request.app[SERVICES].contacts.discovery.find_by_numbers(request[CALLER], body.phone_numbers)
    request[GRANTS] = [(LOOKUP.name, found.grant)]
    return json_response(FoundByNumbers.from_domain(found))


async def show_profile(request: web.Request) -> web.Response:
    """GET /users/{userId}."""
    discovery = request.app[SERVICES].contacts.discovery
    return json_response(PublicProfile.from_domain(await discovery.load_profile(request[CALLER], _user_id(request))))


async def send_request(request: web.Request) -> web.Response:
    """POST /friends/requests."""
    user_id = UserId((await read_body(request, AskFriend)).user_id)
    sent = await request.app[SERVICES].contacts.friends.send_request(request[CALLER], user_id)
    request[GRANTS] = list(sent.grants)
    return json_response(
        AskedFriend(user_id=user_id, status="friends" if sent.are_friends else "requested"), status=201
    )


async def list_requests(request: web.Request) -> web.Response:
    """GET /friends/requests."""
    query = read_query(request, RequestsQuery)
    friends, direction = request.app[SERVICES].contacts.friends, RequestDirection(query.direction)
    after = UserId(query.cursor) if query.cursor else None
    return json_response(
        RequestList.from_domain(await friends.list_requests(request[CALLER], direction, query.limit, after))
    )


async def accept_request(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/accept."""
    await request.app[SERVICES].contacts.friends.accept(request[CALLER], _user_id(request))
    return json_response(Nothing())


async def decline_request(request: web.Request) -> web.Response:
    """POST /friends/requests/{userId}/decline."""
    await request.app[SERVICES].contacts.friends.decline(request[CALLER], _user_id(request))
    return json_response(Nothing())


async def cancel_request(request: web.Request) -> web.Response:
    """DELETE /friends/requests/{userId}."""
    await request.app[SERVICES].contacts.friends.cancel(request[CALLER], _user_id(request))
    return json_response(Nothing())


async def list_friends(request: web.Request) -> web.Response:
    """GET /friends."""
    query = read_query(request, PageQuery)
    friends = request.app[SERVICES].contacts.friends
    after = UserId(query.cursor) if query.cursor else None
    return json_response(FriendList.from_domain(await friends.list_friends(request[CALLER], query.limit, after)))


async def remove_friend(request: web.Request) -> web.Response:
    """DELETE /friends/{userId}."""
    await request.app[SERVICES].contacts.friends.remove(request[CALLER], _user_id(request))
    return json_response(Nothing())


async def list_blocks(request: web.Request) -> web.Response:
    """GET /blocks."""
    query = read_query(request, PageQuery)
    blocks = request.app[SERVICES].contacts.blocks
    after = UserId(query.cursor) if query.cursor else None
    return json_response(BlockList.from_domain(await blocks.list(request[CALLER], query.limit, after)))


async def block(request: web.Request) -> web.Response:
    """PUT /blocks/{userId}."""
    await request.app[SERVICES].contacts.blocks.block(request[CALLER], _user_id(request))
    return json_response(Nothing())


async def unblock(request: web.Request) -> web.Response:
    """DELETE /blocks/{userId}."""
    await request.app[SERVICES].contacts.blocks.unblock(request[CALLER], _user_id(request))
    return json_response(Nothing())


def _user_id(request: web.Request) -> UserId:
    return UserId(path_id(request, "userId"))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/users/by-username/{username}",
        operation="people.by_username",
        handler=find_by_username,
        summary="Find a user by username (case-insensitive)",
        responses={200: Person},
        refusals=(NotFound,),
        documented_quota=SEARCH,
    ),
    Route(
        method="POST",
        path="/api/v1/users/lookup",
        operation="people.look_up",
        handler=find_by_numbers,
        summary="Find users by phone numbers; the node stores none of them",
        body=LookUp,
        responses={200: FoundByNumbers},
        documented_quota=LOOKUP,
    ),
    Route(
        method="GET",
        path="/api/v1/users/{userId}",
        operation="people.profile",
        handler=show_profile,
        summary="The public profile of the caller, a friend or a member of a shared conversation",
        responses={200: PublicProfile},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests",
        operation="friends.ask",
        handler=send_request,
        summary="Send a friend request; if the other has already sent one, both become friends",
        body=AskFriend,
        responses={201: AskedFriend},
        refusals=(NotFound, Forbidden),
        documented_quota=NEW_CONTACTS,
    ),
    Route(
        method="GET",
        path="/api/v1/friends/requests",
        operation="friends.requests",
        handler=list_requests,
        summary="Open friend requests: incoming or outgoing",
        query=RequestsQuery,
        responses={200: RequestList},
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests/{userId}/accept",
        operation="friends.accept",
        handler=accept_request,
        summary="Accept a friend request",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests/{userId}/decline",
        operation="friends.decline",
        handler=decline_request,
        summary="Decline a friend request",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/friends/requests/{userId}",
        operation="friends.cancel",
        handler=cancel_request,
        summary="Cancel a friend request you sent",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/friends",
        operation="friends.index",
        handler=list_friends,
        summary="The caller's friends",
        query=PageQuery,
        responses={200: FriendList},
    ),
    Route(
        method="DELETE",
        path="/api/v1/friends/{userId}",
        operation="friends.part",
        handler=remove_friend,
        summary="Remove a friend, for both sides",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/blocks",
        operation="blocks.index",
        handler=list_blocks,
        summary="List blocked users",
        query=PageQuery,
        responses={200: BlockList},
    ),
    Route(
        method="PUT",
        path="/api/v1/blocks/{userId}",
        operation="blocks.block",
        handler=block,
        summary="Block a user: neither sees the other, except in shared groups",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path="/api/v1/blocks/{userId}",
        operation="blocks.unblock",
        handler=unblock,
        summary="Unblock a user",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
)
