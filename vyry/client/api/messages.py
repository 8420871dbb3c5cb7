"""A call for each kind of message: stored when the call returns, posted as soon as the node is reachable."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol
from uuid import UUID

from vyry.client.api.search import MessageSearch
from vyry.client.errors import TextTooLong
from vyry.client.store.events import Attachment, Target
from vyry.client.transport.live_signals import LiveSignals
from vyry.kernel.display_text import display_length
from vyry.signal_protocol.frame import MAX_PADDED
from vyry.signal_protocol.refusals import TooLarge


MarkRead = Callable[[UUID, Sequence[Target]], Awaitable[None]]


class ContentSender(Protocol):
    """Sends contents."""

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any], id: UUID | None = None) -> UUID:
        """See Client.send."""
        ...


class Messages:
    """Each call returns the id of its content and accepts one: an `id` that was sent before sends nothing. Raises TextTooLong, TooLarge, BadContent."""

    def __init__(self, sender: ContentSender, mark_read: MarkRead, live: LiveSignals, search: MessageSearch) -> None:
        self._sender = sender
        self._mark_read = mark_read
        self._live = live
        #: Searches the messages of this profile.
        self.search: Final = search

    async def text(
        self,
        conversation_id: UUID,
        text: str,
        *,
        reply_to: Target | None = None,
        attachments: Sequence[Attachment] = (),
        id: UUID | None = None,
    ) -> UUID:
        """Send a text, as a reply to a message and with attachments if given."""
        fields: dict[str, Any] = {"text": text}
        if reply_to is not None:
            fields["replyTo"] = reply_to.as_json()
        if attachments:
            fields["attachments"] = [each.as_json() for each in attachments]
        with _checked_length(text):
            return await self._sender.send(conversation_id, "text", fields, id)

    async def edit(self, conversation_id: UUID, target: Target, text: str, *, id: UUID | None = None) -> UUID:
        """Replace the text of an own message, within 24 hours."""
        with _checked_length(text):
            return await self._sender.send(conversation_id, "edit", {"target": target.as_json(), "text": text}, id)

    async def unsend(self, conversation_id: UUID, target: Target, *, id: UUID | None = None) -> UUID:
        """Withdraw an own message, within 24 hours."""
        return await self._sender.send(conversation_id, "unsend", {"target": target.as_json()}, id)

    async def react(self, conversation_id: UUID, target: Target, emoji: str | None, *, id: UUID | None = None) -> UUID:
        """React to a message with an emoji; None removes the reaction."""
        return await self._sender.send(conversation_id, "reaction", {"target": target.as_json(), "emoji": emoji}, id)

    async def location(
        self, conversation_id: UUID, latitude: float, longitude: float, *, id: UUID | None = None
    ) -> UUID:
        """Send a location: degrees north and east."""
        return await self._sender.send(conversation_id, "location", {"latitude": latitude, "longitude": longitude}, id)

    async def timer(self, conversation_id: UUID, seconds: int, *, id: UUID | None = None) -> UUID:
        """Set the timer of the conversation: texts that are sent there afterwards disappear that many seconds after they were read; 0 turns it off. A timer that another member sets counts in the same way."""
        return await self._sender.send(conversation_id, "timer", {"seconds": seconds}, id)

    async def read(self, conversation_id: UUID, targets: Sequence[Target]) -> None:
        """Mark messages of others as read: their timers start, own other devices are notified, and the senders get a receipt unless the account's setting `readReceipts` is false. Messages that were read before are skipped."""
        await self._mark_read(conversation_id, targets)

    async def typing(self, conversation_id: UUID, *, is_typing: bool = True) -> None:
        """Show others that the user types: repeat it every few seconds, and call it with False at the end. Without a connection it does nothing."""
        await self._live.typing(conversation_id, is_typing=is_typing)


@contextmanager
def _checked_length(text: str) -> Iterator[None]:
    """Turns TooLarge into an error that counts characters. Raises TextTooLong."""
    try:
        yield
    except TooLarge:
        length, size = display_length(text), len(text.encode())
        if size < MAX_PADDED // 2:
            raise
        limit = length * MAX_PADDED // size // 1_000 * 1_000
        raise TextTooLong(
            "text",
            f"a message can have about {limit:,} of these characters; this one has {length:,}. Send it as a file",
        ) from None
