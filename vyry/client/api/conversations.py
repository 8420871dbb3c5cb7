"""Conversations: what the node lists, and the local history of each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.group_keys import read_title
from vyry.client.store.archived_conversations import ArchivedConversation, ArchivedConversations
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import Event, Message, Target
from vyry.client.store.journal import Journal, ReadReceipts
from vyry.client.store.store import Store
from vyry.client.sync.group_info import GroupInfo
from vyry.client.sync.pending_decisions import PendingDecisions
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_uuid
from vyry.signal_protocol.refusals import ConversationForged


class Conversations:
    """Lists, opens and reads conversations. Methods that call the node raise Refused, Unreachable."""

    def __init__(
        self, store: Store, rest: RestClient, info: GroupInfo, wait_until_drained: Callable[[], Awaitable[None]]
    ) -> None:
        self._rest = rest
        self._info = info
        self._wait_until_drained = wait_until_drained
        self._journal = Journal(store)
        self._marks = ReadReceipts(store)
        self._pins = ConversationPins(store)
        self._archived = ArchivedConversations(store)
        #: What waits for a decision of the user.
        self.decisions: Final = PendingDecisions(store)

    async def wait_until_drained(self) -> None:
        """Return when everything that waited on the node has arrived, keys of titles included."""
        await self._wait_until_drained()

    async def list(self) -> list[dict[str, Any]]:
        """All conversations of the account, as in docs/protocol.md, each with its `title`: None without a title, or while its key has not arrived."""
        return [self._with_title(response) for response in await self._rest.list_all("/conversations", "conversations")]

    async def get(self, conversation_id: UUID) -> dict[str, Any]:
        """One conversation, with its `title`."""
        return self._with_title(await self._rest.call("GET", f"/conversations/{conversation_id}"))

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with an account, created if needed and pinned to that account. Raises ConversationForged when it is pinned to another account.

        When the node reports other members, that is an event, and messages to it are held back until the node reports the right ones.
        """
        response = await self._rest.call("POST", "/conversations", {"kind": "direct", "userId": str(user_id)})
        with self._rest.validated_response():
            conversation_id = read_uuid(response["conversationId"])
        self._pins.pin_direct(conversation_id, user_id)
        with suppress(ConversationForged):
            self._info.directory.record(response)
        return conversation_id

    def peer(self, conversation_id: UUID) -> UUID | None:
        """The other account of a direct conversation, from the pin and not from the node; None for a group, and before the conversation was first fetched."""
        pin = self._pins.get(conversation_id)
        return pin.peer if pin is not None else None

    def history(self, conversation_id: UUID, limit: int = 50) -> Sequence[Event]:
        """The newest `limit` messages, own ones included, oldest first; in a direct conversation also those that another account of the user had with that account (`restore`)."""
        peer = self.peer(conversation_id)
        earlier = () if peer is None else self._archived.directs_with(peer)
        return self._journal.history(conversation_id, limit, [each for each in earlier if each != conversation_id])

    def archived(self) -> Sequence[ArchivedConversation]:
        """Conversations that `restore` brought; the node need not know them."""
        return self._archived.all()

    def unread(self, conversation_id: UUID, limit: int = 50) -> Sequence[Target]:
        """Messages of others among the newest `limit` that were read on no own device (`messages.read`)."""
        events = self._journal.history(conversation_id, limit)
        received = [event.target for event in events if isinstance(event, Message) and not event.is_own]
        return [target for target in received if not self._marks.is_read(target)]

    def receipts(self, content_id: UUID) -> Mapping[UUID, str]:
        """State of an own content by user id: delivered, read or viewed."""
        return self._marks.receipts(content_id)

    def _with_title(self, response: dict[str, Any]) -> dict[str, Any]:
        with self._rest.validated_response():
            self._info.directory.check(response)
            conversation_id = read_uuid(response["conversationId"])
        _, info = self._info.open_info(response)
        title = read_title(info)
        if title is not None:
            self._archived.save_title(conversation_id, title)
        elif response["sealedInfo"]:
            # Its key has not arrived yet.
            title = self._archived.title(conversation_id)
        return {**response, "title": title}
