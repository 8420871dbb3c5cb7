"""Typing and call signals: passed on to sockets that are there, on whichever node, and never stored."""

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

import msgpack

from vyry.accounts.account import Caller
from vyry.circles.conversations import CachedConversations, Conversation
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotAMember, NotFound
from vyry.ids import ConversationId, DeviceId, MailboxKey, UserId


class Acquaintance(Protocol):
    """Knows who shares a conversation with whom."""

    async def share_one(self, one: UserId, other: UserId) -> bool:
        """Whether these two are members of a common conversation."""
        ...


class Passage(Protocol):
    """The way to the sockets, on whichever node they are."""

    async def relay(self, mailboxes: Collection[MailboxKey], frame: bytes) -> set[MailboxKey]:
        """Pass a frame to the sockets of these mailboxes; answers those that were believed to be held."""
        ...


class Relay:
    """Passes frames on between people who know each other. What reaches nobody is gone."""

    def __init__(
        self,
        conversations: CachedConversations,
        acquaintance: Acquaintance,
        lists: CachedDeviceLists,
        passage: Passage,
    ) -> None:
        self._conversations = conversations
        self._acquaintance = acquaintance
        self._lists = lists
        self._passage = passage

    async def typing(self, caller: Caller, conversation_id: ConversationId, is_typing: bool) -> None:  # noqa: FBT001  the frame's own field
        """Tell the other members' devices that somebody types, or no longer. Raises NotAMember."""
        conversation = await self._conversation(caller, conversation_id)
        if conversation is None or caller.user_id not in conversation.members:
            raise NotAMember
        payload = {
            "conversationId": str(conversation_id),
            "userId": str(caller.user_id),
            "deviceId": caller.device_id,
            "isTyping": is_typing,
        }
        await self._pass(caller, "typing", payload, await self._mailboxes(set(conversation.members) - {caller.user_id}))

    async def signal(
        self, caller: Caller, to: tuple[UserId, DeviceId | None], call_id: UUID, kind: str, content: bytes
    ) -> None:
        """Pass call set-up on to one device, or to all of an account. Raises NotFound for people out of reach and for unknown devices."""
        user_id, device_id = to
        if user_id != caller.user_id and not await self._acquaintance.share_one(caller.user_id, user_id):
            raise NotFound
        payload = {
            "userId": str(caller.user_id),
            "deviceId": caller.device_id,
            "callId": str(call_id),
            "kind": kind,
            "content": content,
        }
        # Nothing guards what is passed on by an epoch, as posts are: a call to a device that is no more would ring nowhere.
        self._lists.forget({user_id})
        mailboxes = await self._mailboxes({user_id}, device_id)
        if device_id is not None and not mailboxes:
            raise NotFound
        await self._pass(caller, "signal", payload, mailboxes)

    async def _conversation(self, caller: Caller, conversation_id: ConversationId) -> Conversation | None:
        """The conversation as it is remembered; nobody is refused before it was read anew."""
        known = (await self._conversations.get([conversation_id])).get(conversation_id)
        if known is None or caller.user_id in known.members:
            return known
        self._conversations.forget([conversation_id])
        return (await self._conversations.get([conversation_id])).get(conversation_id)

    async def _mailboxes(self, users: Collection[UserId], device_id: DeviceId | None = None) -> set[MailboxKey]:
        lists = await self._lists.get(users)
        return {
            listed.mailbox
            for recipient in lists.values()
            for device, listed in recipient.devices.items()
            if device_id in (None, device)
        }

    async def _pass(self, caller: Caller, name: str, payload: dict[str, object], mailboxes: set[MailboxKey]) -> None:
        others = mailboxes - {caller.mailbox}
        if others:
            await self._passage.relay(others, msgpack.packb((name, payload)))
