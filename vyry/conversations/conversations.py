"""Conversations: only members may post to each other. Two accounts have at most one direct conversation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import accumulate
from typing import Final, Protocol

from vyry.clock import Clock
from vyry.errors import InvalidRequest, NotFound
from vyry.kernel.ids import ConversationId, UserId
from vyry.kernel.lru_cache import LruCache
from vyry.limits import NEW_CONTACTS, Grant, Limiter


#: The conversations of a page have at most so many members in all, unless the page is a single conversation.
MAX_PAGE_MEMBERS: Final = 5_000


class ConversationKind(Enum):
    """The kind of a conversation."""

    DIRECT = "direct"
    GROUP = "group"


class Role(Enum):
    """The role of a member."""

    ADMIN = "admin"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Member:
    """The membership of an account in a conversation."""

    role: Role
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as its members see it. `version` rises with every change."""

    conversation_id: ConversationId
    kind: ConversationKind
    members: Mapping[UserId, Member]
    version: int
    sealed_info: bytes | None
    message_timer_seconds: int | None
    last_activity_at: datetime
    created_at: datetime
    #: A direct conversation in which one member blocks the other: posts are refused. A change of it raises the version.
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of conversations; `next_cursor` is None on the last page."""

    conversations: list[Conversation]
    next_cursor: ConversationId | None


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """The requested conversation, whether it is new, the remaining quotas, and the accounts that were invited instead of added."""

    conversation: Conversation
    is_new: bool
    grants: Sequence[tuple[str, Grant]] = ()
    invited: Sequence[UserId] = ()


class ConversationSource(Protocol):
    """Loads conversations."""

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        """Those of these conversations that exist."""
        ...


class ConversationStore(ConversationSource, Protocol):
    """Stores conversations."""

    async def find_direct(self, opener: UserId, other: UserId) -> Conversation | None:
        """The direct conversation of these two, or None.

        Raises NotFound if there is no account `other` or one blocks the other; Forbidden if there is no conversation and `other` accepts friends only.
        """
        ...

    async def open_direct(self, opener: UserId, other: UserId, now: datetime) -> tuple[Conversation, bool]:
        """The direct conversation of these two, and whether this call created it. Concurrent calls create one.

        Raises NotFound and Forbidden as `find_direct`; it is serialised with blocks and the end of a friendship.
        """
        ...

    async def list(self, member: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        """The conversations of a member after the cursor, newest created first: at most `limit`, and fewer if they are large (`page_length`)."""
        ...

    async def record_activity(self, ids: Collection[ConversationId], at: datetime) -> None:
        """Record the time of a post; the latest time counts."""
        ...

    async def note_writers(self, writers: Collection[tuple[ConversationId, UserId]]) -> None:
        """Record that these members have posted there: the accounts that they wrote to are no strangers to them."""
        ...


async def load_as_member(source: ConversationSource, viewer: UserId, conversation_id: ConversationId) -> Conversation:
    """Load a conversation. Raises NotFound, also for an account that is no member: it must not learn that the conversation exists."""
    conversation = (await source.load([conversation_id])).get(conversation_id)
    if conversation is None or viewer not in conversation.members:
        raise NotFound
    return conversation


def page_length(sizes: Iterable[int]) -> int:
    """How many conversations with these member counts a page has: one, and more up to MAX_PAGE_MEMBERS members in all."""
    totals = list(accumulate(sizes))
    return max(1, sum(total <= MAX_PAGE_MEMBERS for total in totals)) if totals else 0


class CachedConversations:
    """Caches the conversations used last, with `capacity` members in all (a conversation counts as one more).

    A cached conversation may be outdated: a post that uses it is checked against the version in the database.
    """

    def __init__(self, source: ConversationSource, capacity: int = 150_000) -> None:
        self._source = source
        self._cache: LruCache[ConversationId, Conversation] = LruCache(capacity, _weight)

    async def get(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        """Those of these conversations that exist, loading only what is not cached. Their `last_activity_at` may be old."""
        found = {key: known for key in ids if (known := self._cache.get(key)) is not None}
        missing = {key for key in ids if key not in found}
        if missing:
            loaded = await self._source.load(missing)
            self._cache_loaded(loaded)
            found |= loaded
        return found

    def invalidate(self, ids: Collection[ConversationId]) -> None:
        """Drop these from the cache."""
        for key in ids:
            self._cache.pop(key)

    def invalidate_all(self) -> None:
        """Drop everything from the cache."""
        self.invalidate(list(self._cache))

    def _cache_loaded(self, loaded: Mapping[ConversationId, Conversation]) -> None:
        for key, conversation in loaded.items():
            cached = self._cache.get(key)
            # A slow load may end after a newer one: versions only rise, so the higher one is current.
            if cached is None or cached.version <= conversation.version:
                self._cache.put(key, conversation)


def _weight(conversation: Conversation) -> int:
    return 1 + len(conversation.members)


class Conversations:
    """Opens and reads conversations."""

    def __init__(self, store: ConversationStore, limiter: Limiter, clock: Clock) -> None:
        self._store = store
        self._limiter = limiter
        self._clock = clock

    async def open_direct(self, opener: UserId, other: UserId) -> OpenedConversation:
        """The direct conversation with another account; only a new one counts as a new contact.

        Raises InvalidRequest (the own account), NotFound, Forbidden (`other` accepts friends only), RateLimited.
        """
        if opener == other:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "is your own account"}])
        if found := await self._store.find_direct(opener, other):
            return OpenedConversation(found, is_new=False)
        grant = await self._limiter.consume(NEW_CONTACTS, str(opener))
        conversation, is_new = await self._store.open_direct(opener, other, self._clock.now())
        return OpenedConversation(conversation, is_new, [(NEW_CONTACTS.name, grant)])

    async def load(self, viewer: UserId, conversation_id: ConversationId) -> Conversation:
        """A conversation of the viewer. Raises NotFound, also for an account that is no member."""
        return await load_as_member(self._store, viewer, conversation_id)

    async def list(self, viewer: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        """The conversations of the viewer, newest created first."""
        return await self._store.list(viewer, limit, after)
