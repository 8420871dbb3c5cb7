"""Shapes of people, friends and blocks (docs/protocol.md, "People")."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from vyry.contacts import discovery as people
from vyry.contacts import friends as friendship
from vyry.contacts.blocks import BlockPage
from web.wire.shapes import Base64, Id, Timestamp, WireModel


_Limit = Annotated[int, Field(ge=1, le=200)]


class Person(WireModel):
    """Somebody as whoever finds them sees them."""

    user_id: Id
    username: str | None
    display_name: str | None
    picture_attachment_id: Id | None

    @classmethod
    def from_domain(cls, person: people.Person) -> "Person":
        """As the wire has it."""
        return cls(
            user_id=person.user_id,
            username=person.username,
            display_name=person.display_name,
            picture_attachment_id=person.picture_attachment_id,
        )


class PublicProfile(WireModel):
    """Somebody as friends and members of a shared conversation see them."""

    user_id: Id
    username: str | None
    display_name: str | None
    bio: str | None
    picture_attachment_id: Id | None
    sealed_profile: Base64 | None

    @classmethod
    def from_domain(cls, profile: people.PublicProfile) -> "PublicProfile":
        """As the wire has it."""
        return cls(
            user_id=profile.person.user_id,
            username=profile.person.username,
            display_name=profile.person.display_name,
            bio=profile.bio,
            picture_attachment_id=profile.person.picture_attachment_id,
            sealed_profile=profile.sealed_profile,
        )


class LookUp(WireModel):
    """Numbers in E.164, of an address book for instance."""

    phone_numbers: Annotated[list[str], Field(max_length=100)]


class FoundByNumber(WireModel):
    """Somebody who can be found by this number."""

    phone_number: str
    user_id: Id
    display_name: str | None


class FoundByNumbers(WireModel):
    """Those who can be found, in the order of the numbers."""

    users: Sequence[FoundByNumber]

    @classmethod
    def from_domain(cls, found: people.LookupResult) -> "FoundByNumbers":
        """As the wire has it."""
        return cls(
            users=[
                FoundByNumber(phone_number=number.e164, user_id=person.user_id, display_name=person.display_name)
                for number, person in found.people
            ]
        )


class PeopleQuery(WireModel):
    """Which part of a list; the cursor is the `nextCursor` of the part before."""

    limit: _Limit = 50
    cursor: Id | None = None


class RequestsQuery(WireModel):
    """Which requests: those to the caller, or the caller's own."""

    direction: Literal["incoming", "outgoing"] = "incoming"
    limit: _Limit = 50
    cursor: Id | None = None


class AskFriend(WireModel):
    """Whom to ask."""

    user_id: Id


class AskedFriend(WireModel):
    """What came of it: a request that waits, or a friendship."""

    user_id: Id
    status: Literal["requested", "friends"]


class Friend(Person):
    """A friend."""

    since: Timestamp


class FriendList(WireModel):
    """A part of the caller's friends."""

    friends: Sequence[Friend]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: friendship.FriendPage) -> "FriendList":
        """As the wire has it."""
        shown = [Friend(**dict(Person.from_domain(each.person)), since=each.since) for each in page.friends]
        return cls(friends=shown, next_cursor=page.next_cursor)


class FriendRequest(Person):
    """A request that waits for an answer: `userId` is the other. Of somebody who is asked nothing else is told."""

    requested_at: Timestamp


class RequestList(WireModel):
    """A part of the requests."""

    requests: Sequence[FriendRequest]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: friendship.RequestPage) -> "RequestList":
        """As the wire has it."""
        return cls(requests=[_request_shape(each) for each in page.requests], next_cursor=page.next_cursor)


class Block(WireModel):
    """Somebody who is blocked."""

    user_id: Id
    blocked_at: Timestamp


class BlockList(WireModel):
    """A part of those whom the caller blocks."""

    blocks: Sequence[Block]
    next_cursor: Id | None

    @classmethod
    def from_domain(cls, page: BlockPage) -> "BlockList":
        """As the wire has it."""
        shown = [Block(user_id=each.user_id, blocked_at=each.at) for each in page.blocks]
        return cls(blocks=shown, next_cursor=page.next_cursor)


def _request_shape(request: friendship.FriendRequest) -> FriendRequest:
    person = request.person or people.Person(request.user_id, None, None, None)
    return FriendRequest(**dict(Person.from_domain(person)), requested_at=request.at)
