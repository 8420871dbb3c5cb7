"""Fake of the conversation store, in dictionaries. No method awaits, so each one is atomic."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from tests.fakes.relationships import Relationships
from vyry.contacts.friends import FRIENDS_ONLY
from vyry.conversations.conversations import Conversation, ConversationKind, ConversationPage, Member, Role, page_length
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId, new_id


class MemoryConversations:
    """ConversationStore. `people` are the accounts that there are, `ties` what is between them."""

    def __init__(self, people: Collection[UserId], ties: Relationships | None = None) -> None:
        self.people = people
        self.ties = ties or Relationships()
        self.kept: dict[ConversationId, Conversation] = {}
        self._pairs = self.ties.direct_conversations

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        return {key: self._shown(key) for key in ids if key in self.kept}

    async def find_direct(self, opener: UserId, other: UserId) -> Conversation | None:
        if other not in self.people or self.ties.is_blocked(opener, other):
            raise NotFound
        key = self._pairs.get(frozenset({opener, other}))
        if key is None and other in self.ties.friends_only and (other, opener) not in self.ties.friends:
            raise Forbidden(FRIENDS_ONLY)
        return self._shown(key) if key else None

    async def open_direct(self, opener: UserId, other: UserId, now: datetime) -> tuple[Conversation, bool]:
        is_new = await self.find_direct(opener, other) is None
        pair = frozenset({opener, other})
        if is_new:
            key = self._pairs[pair] = ConversationId(new_id())
            members = {user: Member(Role.MEMBER, now) for user in sorted(pair)}
            self.kept[key] = Conversation(key, ConversationKind.DIRECT, members, 1, None, None, now, now)
        return self._shown(self._pairs[pair]), is_new

    async def list(self, member: UserId, limit: int, after: ConversationId | None) -> ConversationPage:
        own = sorted((key for key, each in self.kept.items() if member in each.members), reverse=True)
        rest = [key for key in own if after is None or key < after]
        taken = page_length(len(self.kept[key].members) for key in rest[:limit])
        page = [self._shown(key) for key in rest[:taken]]
        return ConversationPage(page, rest[taken - 1] if len(rest) > taken else None)

    async def share_conversation(self, one: UserId, other: UserId) -> bool:
        if self.ties.is_blocked(one, other):
            return False
        return any({one, other} <= each.members.keys() for each in self.kept.values())

    async def record_activity(self, ids: Collection[ConversationId], at: datetime) -> None:
        for key, conversation in (await self.load(ids)).items():
            latest = max(conversation.last_activity_at, at)
            self.kept[key] = replace(conversation, last_activity_at=latest)

    async def note_writers(self, writers: Collection[tuple[ConversationId, UserId]]) -> None:
        self.ties.writers |= {
            (key, user) for key, user in writers if key in self.kept and user in self.kept[key].members
        }

    def raise_version(self, one: UserId, other: UserId) -> ConversationId | None:
        """The direct conversation of the two has changed."""
        key = self._pairs.get(frozenset({one, other}))
        if key is not None:
            self.kept[key] = replace(self.kept[key], version=self.kept[key].version + 1)
        return key

    def _shown(self, key: ConversationId) -> Conversation:
        conversation = self.kept[key]
        if conversation.kind is ConversationKind.GROUP:
            return conversation
        return replace(conversation, is_blocked=self.ties.is_blocked(*conversation.members))
