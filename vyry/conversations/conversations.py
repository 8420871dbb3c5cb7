"""Conversations: who may write to whom. A direct one is unique for its two members."""

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


#: A page of conversations has at most so many members, unless it is a single one: groups are large.
MAX_PAGE_MEMBERS: Final = 5_000


class ConversationKind(Enum):
    """How many can belong to it."""

    DIRECT = "direct"
    GROUP = "group"


class Role(Enum):
    """What a member may do."""

    ADMIN = "admin"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody's place in a conversation."""

    role: Role
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as its members see it. `version` rises with every change of it."""

    conversation_id: ConversationId
    kind: ConversationKind
    members: Mapping[UserId, Member]
    version: int
    sealed_info: bytes | None
    message_timer_seconds: int | None
    last_activity_at: datetime
    created_at: datetime
    #: A direct one, of whose two members one blocks the other: nothing can be posted there. It changes with the version.
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A part of somebody's list; `next_cursor` is None at the end of it."""

    conversations: list[Conversation]
    next_cursor: ConversationId | None


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """The conversation that was asked for, whether it was made for that, what the limits leave, and who was invited instead of added."""

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
    """Where conversations are kept."""

    async def find_direct(self, opener: UserId, other: UserId) -> Conversation | None:
        """The direct conversation of these two, if there is one.

        Raises NotFound when there is no account `other` or one blocks the other; Forbidden when there is none yet and `other` hears from friends only.
        """
        ...

    async def open_direct(self, opener: UserId, other: UserId, now: datetime) -> tuple[Conversation, bool]:
        """The one direct conversation of these two, and whether this call made it. However many ask at once, one is made.

        Raises NotFound and Forbidden as `find_direct`; a block or an end of friendship at the same time comes before or after it.
        """
        ...

    async def list(self, member: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        """The conversations of a member, newest made first, from just after the one named: `limit` of them, unless they are too large (`how_many`)."""
        ...

    async def record_activity(self, ids: Collection[ConversationId], at: datetime) -> None:
        """Note that something was posted there at that moment; the latest moment counts."""
        ...

    async def note_writers(self, writers: Collection[tuple[ConversationId, UserId]]) -> None:
        """Note that these members have themselves written there: who they write to is no stranger to them any more."""
        ...


def page_length(sizes: Iterable[int]) -> int:
    """How many conversations of so many members each stand on one page: the first, and more while the page has at most `PAGE_MEMBERS`."""
    totals = list(accumulate(sizes))
    return max(1, sum(total <= MAX_PAGE_MEMBERS for total in totals)) if totals else 0


class CachedConversations:
    """Remembers the conversations used last, as many as have `capacity` members in all (one itself counts as one).

    What it answers may be outdated: the post that relies on it is guarded by the version.
    """

    def __init__(self, source: ConversationSource, capacity: int = 150_000) -> None:
        self._source = source
        self._cache: LruCache[ConversationId, Conversation] = LruCache(capacity, _weight)

    async def get(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        """Those of these conversations that exist, loading only what is not remembered. Their `last_activity_at` may be old."""
        found = {key: known for key in ids if (known := self._cache.get(key)) is not None}
        missing = {key for key in ids if key not in found}
        if missing:
            loaded = await self._source.load(missing)
            self._cache_loaded(loaded)
            found |= loaded
        return found

    def invalidate(self, ids: Collection[ConversationId]) -> None:
        """Load these anew next time."""
        for key in ids:
            self._cache.pop(key)

    @property
    def cached_members(self) -> int:
        """How many members the conversations have that are remembered, all together."""
        return self._cache.weight - len(self._cache)

    def invalidate_all(self) -> None:
        """Load everything anew next time."""
        self.invalidate(list(self._cache))

    def _cache_loaded(self, loaded: Mapping[ConversationId, Conversation]) -> None:
        for key, conversation in loaded.items():
            held = self._cache.get(key)
            # A slow load may arrive after a newer one: versions only rise, so the higher one is the truth.
            if held is None or held.version <= conversation.version:
                self._cache.put(key, conversation)


def _weight(conversation: Conversation) -> int:
    return 1 + len(conversation.members)


class Conversations:
    """What a person may do with conversations."""

    def __init__(self, store: ConversationStore, limiter: Limiter, clock: Clock) -> None:
        self._store = store
        self._limiter = limiter
        self._clock = clock

    async def open_direct(self, opener: UserId, other: UserId) -> OpenedConversation:
        """The direct conversation with somebody else; only a new one counts as a new contact.

        Raises InvalidRequest (oneself), NotFound, Forbidden (they hear from friends only), RateLimited.
        """
        if opener == other:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "this is yourself"}])
        if found := await self._store.find_direct(opener, other):
            return OpenedConversation(found, is_new=False)
        grant = await self._limiter.consume(NEW_CONTACTS, str(opener))
        conversation, is_new = await self._store.open_direct(opener, other, self._clock.now())
        return OpenedConversation(conversation, is_new, [(NEW_CONTACTS.name, grant)])

    async def load(self, viewer: UserId, conversation_id: ConversationId) -> Conversation:
        """A conversation the viewer belongs to. To outsiders there is none: NotFound."""
        conversation = (await self._store.load([conversation_id])).get(conversation_id)
        if conversation is None or viewer not in conversation.members:
            raise NotFound
        return conversation

    async def list(self, viewer: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        """The conversations the viewer belongs to, newest made first."""
        return await self._store.list(viewer, limit, after)
