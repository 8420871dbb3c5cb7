"""People, friends and blocks."""

from typing import Final

from vyry.errors import Forbidden, NotFound
from vyry.limits import LOOKUP, NEW_CONTACTS, SEARCH
from web.app_keys import Route
from web.handlers import blocks, friends, people
from web.wire.people import (
    AskedFriend,
    AskFriend,
    BlockList,
    FoundByNumbers,
    FriendList,
    LookUp,
    PeopleQuery,
    Person,
    PublicProfile,
    RequestList,
    RequestsQuery,
)
from web.wire.shapes import Nothing


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/users/by-username/{username}",
        handler=people.by_username,
        summary="Who has this username, however it is written",
        responses={200: Person},
        refusals=(NotFound,),
        quota=SEARCH,
    ),
    Route(
        method="POST",
        path="/api/v1/users/lookup",
        handler=people.look_up,
        summary="Who can be found by these telephone numbers, of which nothing is kept",
        body=LookUp,
        responses={200: FoundByNumbers},
        quota=LOOKUP,
    ),
    Route(
        method="GET",
        path="/api/v1/users/{userId}",
        handler=people.profile,
        summary="The public profile of oneself, a friend or a member of a shared conversation",
        responses={200: PublicProfile},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests",
        handler=friends.ask,
        summary="Ask somebody to be a friend; who has asked the caller is one at once",
        body=AskFriend,
        responses={201: AskedFriend},
        refusals=(NotFound, Forbidden),
        quota=NEW_CONTACTS,
    ),
    Route(
        method="GET",
        path="/api/v1/friends/requests",
        handler=friends.requests,
        summary="Requests that wait: to the caller, or the caller's own",
        query=RequestsQuery,
        responses={200: RequestList},
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests/{userId}/accept",
        handler=friends.accept,
        summary="Become the friend of somebody who asked",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="POST",
        path="/api/v1/friends/requests/{userId}/decline",
        handler=friends.decline,
        summary="Forget that somebody asked",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/friends/requests/{userId}",
        handler=friends.cancel,
        summary="Take a request of the caller back",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/friends",
        handler=friends.index,
        summary="The caller's friends",
        query=PeopleQuery,
        responses={200: FriendList},
    ),
    Route(
        method="DELETE",
        path="/api/v1/friends/{userId}",
        handler=friends.part,
        summary="End a friendship, for both",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/blocks",
        handler=blocks.index,
        summary="Whom the caller blocks",
        query=PeopleQuery,
        responses={200: BlockList},
    ),
    Route(
        method="PUT",
        path="/api/v1/blocks/{userId}",
        handler=blocks.block,
        summary="Neither exists for the other from now on, but in groups of both",
        responses={200: Nothing},
        refusals=(NotFound, Forbidden),
    ),
    Route(
        method="DELETE",
        path="/api/v1/blocks/{userId}",
        handler=blocks.unblock,
        summary="Take a block back",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
)
