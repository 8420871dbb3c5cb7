"""Fakes of the stores of friends, requests, blocks and receipts, in dictionaries. No method awaits, so each one is atomic."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from vyry.contacts.blocks import MAX_BLOCKS, Block, BlockPage
from vyry.contacts.discovery import Person
from vyry.contacts.friends import (
    MAX_FRIENDS,
    MAX_REQUESTS,
    Friend,
    FriendPage,
    FriendRequest,
    RequestDirection,
    RequestPage,
)
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.mail.receipts import MemberKey


Pair = tuple[UserId, UserId]


@dataclass(slots=True)
class Relationships:
    """What ties people, for the stores that share it."""

    #: Both sides of each friendship.
    friends: dict[Pair, datetime] = field(default_factory=dict)
    #: Who asks, whom.
    requests: dict[Pair, datetime] = field(default_factory=dict)
    #: Who blocks, whom.
    blocks: dict[Pair, datetime] = field(default_factory=dict)
    #: Whose `messagesFrom` is friends.
    friends_only: set[UserId] = field(default_factory=set)
    #: Who has which direct conversation.
    direct_conversations: dict[frozenset[UserId], ConversationId] = field(default_factory=dict)
    #: Whose `deliveryReceipts` is off.
    receipts_off: set[UserId] = field(default_factory=set)
    #: Who is invited into which group: by whom, and when.
    invitations: dict[tuple[ConversationId, UserId], tuple[UserId, datetime]] = field(default_factory=dict)
    #: Who has written where.
    writers: set[tuple[ConversationId, UserId]] = field(default_factory=set)

    def is_blocked(self, one: UserId, other: UserId) -> bool:
        """Whether either blocks the other."""
        return (one, other) in self.blocks or (other, one) in self.blocks


class MemoryFriends:
    """FriendStore. `people` are the accounts that there are."""

    def __init__(self, people: Collection[UserId], ties: Relationships) -> None:
        self._people = people
        self._ties = ties

    async def is_new_contact(self, asker: UserId, other: UserId) -> bool:
        self._check_visible(asker, other)
        requests = self._ties.requests.keys() & {(asker, other), (other, asker)}
        has_conversation = frozenset({asker, other}) in self._ties.direct_conversations
        return not requests and not has_conversation and (asker, other) not in self._ties.friends

    async def send_request(self, asker: UserId, other: UserId, now: datetime) -> bool:
        self._check_visible(asker, other)
        requests = self._ties.requests
        if (asker, other) in self._ties.friends:
            return True
        if (other, asker) in requests:
            self._add_friendship(asker, other, now)
            return True
        waiting = [pair for pair in requests if pair != (asker, other)]
        if sum(pair[0] == asker for pair in waiting) >= MAX_REQUESTS:
            raise Forbidden("You have too many pending friend requests.")
        to_other = [pair for pair in waiting if pair[1] == other]
        if len(to_other) >= MAX_REQUESTS:
            del requests[
                min(
                    to_other,
                    key=lambda pair: (frozenset(pair) in self._ties.direct_conversations, requests[pair], pair),
                )
            ]
        requests.setdefault((asker, other), now)
        return False

    async def accept(self, user: UserId, asker: UserId, now: datetime) -> None:
        self._check_visible(user, asker)
        if (user, asker) in self._ties.friends:
            return
        if (asker, user) not in self._ties.requests:
            raise NotFound
        self._add_friendship(user, asker, now)

    async def delete_request(self, asker: UserId, other: UserId) -> None:
        if self._ties.requests.pop((asker, other), None) is None:
            raise NotFound

    async def remove(self, user: UserId, friend: UserId) -> None:
        if self._ties.friends.pop((user, friend), None) is None:
            raise NotFound
        del self._ties.friends[friend, user]

    async def list_friends(self, user: UserId, limit: int, after: UserId | None) -> FriendPage:
        found = sorted((pair[1], at) for pair, at in self._ties.friends.items() if pair[0] == user)
        rest = [each for each in found if after is None or each[0] > after]
        page = [Friend(_person(other), at) for other, at in rest[:limit]]
        return FriendPage(page, page[-1].person.user_id if len(rest) > limit else None)

    async def list_requests(
        self, user: UserId, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        own, place = (1, 0) if direction is RequestDirection.INCOMING else (0, 1)
        found = sorted((pair[place], at) for pair, at in self._ties.requests.items() if pair[own] == user)
        rest = [each for each in found if after is None or each[0] > after]
        page = [FriendRequest(other, None if own == 0 else _person(other), at) for other, at in rest[:limit]]
        return RequestPage(page, page[-1].user_id if len(rest) > limit else None)

    def _check_visible(self, user: UserId, other: UserId) -> None:
        if other not in self._people or self._ties.is_blocked(user, other):
            raise NotFound

    def _add_friendship(self, one: UserId, other: UserId, now: datetime) -> None:
        if any(sum(pair[0] == each for pair in self._ties.friends) >= MAX_FRIENDS for each in (one, other)):
            raise Forbidden("One of the two accounts has reached its limit of friends.")
        for pair in ((one, other), (other, one)):
            self._ties.friends[pair] = now
            self._ties.requests.pop(pair, None)


class MemoryBlocks:
    """BlockStore. `raise_version` changes the direct conversation of two people."""

    def __init__(
        self,
        people: Collection[UserId],
        ties: Relationships,
        raise_version: Callable[[UserId, UserId], ConversationId | None],
    ) -> None:
        self._people = people
        self._ties = ties
        self._raise_version = raise_version

    async def block(self, owner: UserId, other: UserId, now: datetime) -> ConversationId | None:
        is_hidden = (other, owner) in self._ties.blocks and frozenset(
            {owner, other}
        ) not in self._ties.direct_conversations
        if other not in self._people or is_hidden:
            raise NotFound
        if (owner, other) in self._ties.blocks:
            return None
        if sum(pair[0] == owner for pair in self._ties.blocks) >= MAX_BLOCKS:
            raise Forbidden("You have reached the limit of blocked accounts.")
        self._ties.blocks[owner, other] = now
        for pair in ((owner, other), (other, owner)):
            self._ties.friends.pop(pair, None)
            self._ties.requests.pop(pair, None)
        for (key, to), (inviter, _) in list(self._ties.invitations.items()):
            if {to, inviter} == {owner, other}:
                del self._ties.invitations[key, to]
        return self._raise_version(owner, other)

    async def unblock(self, owner: UserId, other: UserId) -> ConversationId | None:
        if self._ties.blocks.pop((owner, other), None) is None:
            raise NotFound
        return self._raise_version(owner, other)

    async def list(self, owner: UserId, limit: int, after: UserId | None) -> BlockPage:
        found = sorted((pair[1], at) for pair, at in self._ties.blocks.items() if pair[0] == owner)
        rest = [each for each in found if after is None or each[0] > after]
        page = [Block(other, at) for other, at in rest[:limit]]
        return BlockPage(page, page[-1].user_id if len(rest) > limit else None)


class MemoryReceipts:
    """ReceiptStore."""

    def __init__(self, ties: Relationships) -> None:
        self._ties = ties

    async def filter_visible(self, viewer: UserId, members: Collection[MemberKey]) -> set[MemberKey]:
        ties = self._ties
        open_ones = (
            each for each in members if each[1] not in ties.receipts_off and not ties.is_blocked(viewer, each[1])
        )
        return {each for each in open_ones if each in ties.writers or (each[1], viewer) in ties.friends}


def _person(user: UserId) -> Person:
    return Person(user, None, None, None)
