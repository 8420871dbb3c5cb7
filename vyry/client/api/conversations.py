"""Conversations as the node and the journal tell of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.group_keys import read_title
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import Event, Message, Target
from vyry.client.store.journal import Journal
from vyry.client.store.read_receipts import ReadReceipts
from vyry.client.store.store import Store
from vyry.client.sync.group_info import GroupInfo
from vyry.client.sync.pending_decisions import PendingDecisions
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_uuid
from vyry.signal_protocol.refusals import ConversationForged


class Conversations:
    """Reads and opens them. What asks the node raises Refused, Unreachable."""

    def __init__(
        self, store: Store, rest: RestClient, info: GroupInfo, wait_until_drained: Callable[[], Awaitable[None]]
    ) -> None:
        self._rest = rest
        self._info = info
        self._wait_until_drained = wait_until_drained
        self._journal = Journal(store)
        self._marks = ReadReceipts(store)
        self._pins = ConversationPins(store)
        #: What waits for a decision of the person here.
        self.decisions: Final = PendingDecisions(store)

    async def wait_until_drained(self) -> None:
        """Come back when all that waited on the node is here: keys of titles too."""
        await self._wait_until_drained()

    async def list(self) -> list[dict[str, Any]]:
        """All that this person is in, as docs/protocol.md shows them, each with its `title`: None while its key has not come, or when there is none."""
        return [self._with_title(said) for said in await self._rest.list_all("/conversations", "conversations")]

    async def get(self, conversation_id: UUID) -> dict[str, Any]:
        """One of them, with its `title`."""
        return self._with_title(await self._rest.call("GET", f"/conversations/{conversation_id}"))

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with somebody, opened if it is not there; pinned to them from now on. Raises ConversationForged when it is pinned to somebody else.

        When the node tells other members of it, that is an event, and what is sent there is kept until it no longer does.
        """
        said = await self._rest.call("POST", "/conversations", {"kind": "direct", "userId": str(user_id)})
        with self._rest.validated_response():
            conversation_id = read_uuid(said["conversationId"])
        self._pins.pin_direct(conversation_id, user_id)
        with suppress(ConversationForged):
            self._info.directory.record(said)
        return conversation_id

    def peer(self, conversation_id: UUID) -> UUID | None:
        """The other account of a direct conversation, as it is pinned, whatever the node says; None for a group, and before the first look."""
        pin = self._pins.get(conversation_id)
        return pin.peer if pin is not None else None

    def history(self, conversation_id: UUID, limit: int = 50) -> Sequence[Event]:
        """What was said, one's own included: the newest so many, the oldest of them first."""
        return self._journal.history(conversation_id, limit)

    def unread(self, conversation_id: UUID, limit: int = 50) -> Sequence[Target]:
        """Messages of others among the newest so many that were read on no own device (`messages.read`)."""
        said = self._journal.history(conversation_id, limit)
        theirs = [event.target for event in said if isinstance(event, Message) and not event.is_own]
        return [target for target in theirs if not self._marks.is_read(target)]

    def receipts(self, content_id: UUID) -> Mapping[UUID, str]:
        """How far something one said has come: by user id delivered, read or viewed."""
        return self._marks.receipts(content_id)

    def _with_title(self, said: dict[str, Any]) -> dict[str, Any]:
        with self._rest.validated_response():
            self._info.directory.check(said)
        _, info = self._info.open_info(said)
        return {**said, "title": read_title(info)}
