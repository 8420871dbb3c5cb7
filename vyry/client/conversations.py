"""Conversations as the node and the journal tell of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.conversation_pins import Pins
from vyry.client.decisions import Decisions
from vyry.client.events import Event, Message, Target
from vyry.client.group_info import GroupInfo
from vyry.client.group_keys import title_in
from vyry.client.journal import Journal
from vyry.client.marks import Marks
from vyry.client.rest import Rest
from vyry.client.shapes import identifier
from vyry.client.store import Store
from vyry.signal_protocol.refusals import ConversationForged


class Conversations:
    """Reads and opens them. What asks the node raises Refused, Unreachable."""

    def __init__(self, store: Store, rest: Rest, info: GroupInfo, drained: Callable[[], Awaitable[None]]) -> None:
        self._rest = rest
        self._info = info
        self._drained = drained
        self._journal = Journal(store)
        self._marks = Marks(store)
        self._pins = Pins(store)
        #: What waits for a decision of the person here.
        self.decisions: Final = Decisions(store)

    async def caught_up(self) -> None:
        """Come back when all that waited on the node is here: keys of titles too."""
        await self._drained()

    async def list(self) -> list[dict[str, Any]]:
        """All that this person is in, as docs/protocol.md shows them, each with its `title`: None while its key has not come, or when there is none."""
        return [self._titled(said) for said in await self._rest.pages("/conversations", "conversations")]

    async def get(self, conversation_id: UUID) -> dict[str, Any]:
        """One of them, with its `title`."""
        return self._titled(await self._rest.call("GET", f"/conversations/{conversation_id}"))

    async def direct(self, user_id: UUID) -> UUID:
        """The direct conversation with somebody, opened if it is not there; pinned to them from now on. Raises ConversationForged when it is pinned to somebody else.

        When the node tells other members of it, that is an event, and what is sent there is kept until it no longer does.
        """
        said = await self._rest.call("POST", "/conversations", {"kind": "direct", "userId": str(user_id)})
        with self._rest.shaped():
            conversation_id = identifier(said["conversationId"])
        self._pins.direct(conversation_id, user_id)
        with suppress(ConversationForged):
            self._info.circles.keep(said)
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

    def _titled(self, said: dict[str, Any]) -> dict[str, Any]:
        with self._rest.shaped():
            self._info.circles.check(said)
        _, info = self._info.opened(said)
        return {**said, "title": title_in(info)}
