"""Typing: relayed to the sockets of the other members on any node, and never stored. It ends by itself when the device does not repeat it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Never, Protocol

from vyry.accounts.account import Caller
from vyry.clock import Clock
from vyry.conversations.conversations import CachedConversations, Conversation
from vyry.devices.device_lists import CachedDeviceLists
from vyry.errors import NotAMember, Unavailable
from vyry.kernel.ids import ConversationId, MailboxKey, UserId
from vyry.mail.routing import Notifier
from vyry.signals.relay import mailboxes_of, relay_frame


#: The start of typing is relayed at most this often; clients repeat it while it continues.
RELAY_INTERVAL: Final = timedelta(seconds=3)
#: Typing that was not repeated for this long has ended.
TYPING_TIMEOUT: Final = timedelta(seconds=10)
#: The most typists that a process remembers; the oldest signals end first.
MAX_TYPISTS: Final = 20_000
_CHECK_SECONDS: Final = 1.0


class TypingPrivacy(Protocol):
    """The accounts that hide typing, and the blocks between accounts."""

    async def filter_hidden(self, typist: UserId, users: Collection[UserId]) -> set[UserId]:
        """The accounts that have switched `typingIndicators` off, block the typist, or are blocked by the typist. Raises Unavailable."""
        ...


@dataclass(slots=True)
class _Typist:
    caller: Caller
    is_typing: bool
    relayed_at: datetime
    last_signal_at: datetime


class TypingIndicators:
    """Relays typing between the members of a conversation."""

    def __init__(
        self,
        conversations: CachedConversations,
        *,
        device_lists: CachedDeviceLists,
        notifier: Notifier,
        privacy: TypingPrivacy,
        clock: Clock,
    ) -> None:
        self._conversations = conversations
        self._device_lists = device_lists
        self._notifier = notifier
        self._privacy = privacy
        self._clock = clock
        #: In the order of the last signal.
        self._typists: dict[tuple[MailboxKey, ConversationId], _Typist] = {}

    async def set_typing(self, caller: Caller, conversation_id: ConversationId, is_typing: bool) -> None:  # noqa: FBT001  the frame's own field
        """Relay that this account types or has stopped, unless that was relayed just now. Raises NotAMember."""
        conversation = await self._conversation(caller, conversation_id)
        if conversation is None or caller.user_id not in conversation.members:
            raise NotAMember
        key, now = (caller.mailbox, conversation_id), self._clock.now()
        known = self._typists.pop(key, None)
        is_news = known is None or now - known.relayed_at >= RELAY_INTERVAL or (known.is_typing and not is_typing)
        if known is None or is_news:
            # A stop does not reset the interval: a typist that toggles is relayed once in 3 seconds.
            began = known.relayed_at if known is not None and not is_typing else now
            self._typists[key] = _Typist(caller, is_typing, began, now)
            await self._relay_state(caller, conversation, is_typing)
        else:
            known.last_signal_at = now
            self._typists[key] = known

    async def run(self) -> Never:
        """End typing that is not repeated, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            await self.expire()

    async def expire(self) -> None:
        """End the typing of devices without a recent signal."""
        now = self._clock.now()
        late: list[tuple[MailboxKey, ConversationId]] = []
        for key, typist in self._typists.items():
            if now - typist.last_signal_at < TYPING_TIMEOUT and len(self._typists) - len(late) <= MAX_TYPISTS:
                break
            late.append(key)
        for key in late:
            typist = self._typists.pop(key)
            if typist.is_typing:
                await self._stop(typist.caller, key[1])

    async def _stop(self, caller: Caller, conversation_id: ConversationId) -> None:
        try:
            conversation = (await self._conversations.get([conversation_id])).get(conversation_id)
            if conversation is not None and caller.user_id in conversation.members:
                await self._relay_state(caller, conversation, is_typing=False)
        except Unavailable:
            # The members cannot be told now; clients end it by themselves, too.
            return

    async def _relay_state(self, caller: Caller, conversation: Conversation, is_typing: bool) -> None:  # noqa: FBT001  the frame's own field
        # A blocked direct conversation has no other members; in a group, `silent` has the blocks.
        others = set() if conversation.is_blocked else set(conversation.members) - {caller.user_id}
        if not others:
            return
        silent = await self._privacy.filter_hidden(caller.user_id, {*others, caller.user_id})
        if caller.user_id in silent:
            return
        payload = {
            "conversationId": str(conversation.conversation_id),
            "userId": str(caller.user_id),
            "deviceId": caller.device_id,
            "isTyping": is_typing,
        }
        await relay_frame(self._notifier, "typing", payload, await mailboxes_of(self._device_lists, others - silent))

    async def _conversation(self, caller: Caller, conversation_id: ConversationId) -> Conversation | None:
        """The cached conversation; loaded again before a caller is refused."""
        known = (await self._conversations.get([conversation_id])).get(conversation_id)
        if known is None or caller.user_id in known.members:
            return known
        self._conversations.invalidate([conversation_id])
        return (await self._conversations.get([conversation_id])).get(conversation_id)
