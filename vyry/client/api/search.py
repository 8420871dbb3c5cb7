"""Searches the messages of a profile, without the node."""

import asyncio
from uuid import UUID

from vyry.client.errors import NothingToSee
from vyry.client.store.archived_conversations import ArchivedConversations
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import Message
from vyry.client.store.sealed_events import count_from
from vyry.client.store.search import MessageScan, SearchHit, SearchQuery
from vyry.client.store.store import Store
from vyry.kernel.search_text import search_words
from vyry.kernel.time import now_milliseconds


class MessageSearch:
    """Called to search the messages of this profile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._archived = ArchivedConversations(store)

    async def __call__(
        self,
        words: str,
        *,
        conversation_id: UUID | None = None,
        since: int | None = None,
        limit: int = 50,
        context: int = 1,
    ) -> list[SearchHit]:
        """The newest `limit` messages that have all these words, in their text or the names of their files, newest first, each with `context` messages before and after it.

        Case and diacritics do not count, and a word is also found inside another. `since`: sent at this time or later (ms since 1970). Edited messages have their latest text; unsent
        and expired ones are not found. Raises NothingToSee without a word.
        """
        folded = search_words(words)
        if not folded:
            raise NothingToSee("words")
        query = SearchQuery(folded, now_milliseconds(), self._with_earlier(conversation_id), since)
        return await asyncio.to_thread(MessageScan(self._store, query).hits, limit, context)

    def conversation_with(self, user_id: UUID) -> UUID | None:
        """The direct conversation with this account that is pinned, else a restored one; None without one."""
        pins = ConversationPins(self._store).all()
        pinned = (each for each, pin in pins if not pin.is_group and pin.peer == user_id)
        return next(pinned, next(iter(self._archived.directs_with(user_id)), None))

    def _with_earlier(self, conversation_id: UUID | None) -> tuple[UUID, ...]:
        """A conversation, and the restored ones with the same account."""
        if conversation_id is None:
            return ()
        pin = ConversationPins(self._store).get(conversation_id)
        earlier = self._archived.directs_with(pin.peer) if pin is not None and pin.peer is not None else ()
        return tuple(dict.fromkeys((conversation_id, *earlier)))

    def depth(self, message: Message) -> int:
        """How many of the newest contents of its conversation a history has to show until it shows this message."""
        return count_from(self._store, message.conversation_id, message.number)
