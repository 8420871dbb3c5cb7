"""Typing: passed on to sockets that are there, on whichever node, and never stored."""

from vyry.accounts.account import Caller
from vyry.circles.conversations import CachedConversations, Conversation
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotAMember
from vyry.ids import ConversationId
from vyry.signals.passage import Passage, mailboxes_of, pass_on


class Relay:
    """Passes frames on between the members of a conversation. What reaches nobody is gone."""

    def __init__(self, conversations: CachedConversations, lists: CachedDeviceLists, passage: Passage) -> None:
        self._conversations = conversations
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
        # Where one blocks the other it is as if nobody were there.
        others = set() if conversation.is_barred else set(conversation.members) - {caller.user_id}
        await pass_on(self._passage, "typing", payload, await mailboxes_of(self._lists, others))

    async def _conversation(self, caller: Caller, conversation_id: ConversationId) -> Conversation | None:
        """The conversation as it is remembered; nobody is refused before it was read anew."""
        known = (await self._conversations.get([conversation_id])).get(conversation_id)
        if known is None or caller.user_id in known.members:
            return known
        self._conversations.forget([conversation_id])
        return (await self._conversations.get([conversation_id])).get(conversation_id)
