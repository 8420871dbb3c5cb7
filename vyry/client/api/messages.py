"""What people say to each other, a call for each kind: kept when the call returns, sent as soon as the node can be reached."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

from vyry.client.errors import TextTooLong
from vyry.client.store.events import Attachment, Target
from vyry.client.transport.live_signals import LiveSignals
from vyry.kernel.display_text import display_length
from vyry.signal_protocol.frame import MAX_PADDED
from vyry.signal_protocol.refusals import TooLarge


MarkRead = Callable[[UUID, Sequence[Target]], Awaitable[None]]


class ContentSender(Protocol):
    """What sends a content."""

    async def send(self, conversation_id: UUID, kind: str, fields: dict[str, Any], id: UUID | None = None) -> UUID:
        """See Client."""
        ...


class Messages:
    """Each call answers the id of its content, and takes one: under an `id` that was said before, nothing is said again. Raises TextTooLong, TooLarge, BadContent."""

    def __init__(self, voice: ContentSender, read: MarkRead, live: LiveSignals) -> None:
        self._sender = voice
        self._mark_read = read
        self._live = live

    async def text(
        self,
        conversation_id: UUID,
        text: str,
        *,
        reply_to: Target | None = None,
        attachments: Sequence[Attachment] = (),
        id: UUID | None = None,
    ) -> UUID:
        """Words, perhaps in answer to something, perhaps with files."""
        fields: dict[str, Any] = {"text": text}
        if reply_to is not None:
            fields["replyTo"] = reply_to.as_json()
        if attachments:
            fields["attachments"] = [each.as_json() for each in attachments]
        with _checked_length(text):
            return await self._sender.send(conversation_id, "text", fields, id)

    async def edit(self, conversation_id: UUID, target: Target, text: str, *, id: UUID | None = None) -> UUID:
        """Other words in the place of one's own earlier ones; they count for a day."""
        with _checked_length(text):
            return await self._sender.send(conversation_id, "edit", {"target": target.as_json(), "text": text}, id)

    async def unsend(self, conversation_id: UUID, target: Target, *, id: UUID | None = None) -> UUID:
        """Take back what one said; it counts for a day."""
        return await self._sender.send(conversation_id, "unsend", {"target": target.as_json()}, id)

    async def react(self, conversation_id: UUID, target: Target, emoji: str | None, *, id: UUID | None = None) -> UUID:
        """Put an emoji on something; None takes it back."""
        return await self._sender.send(conversation_id, "reaction", {"target": target.as_json(), "emoji": emoji}, id)

    async def location(
        self, conversation_id: UUID, latitude: float, longitude: float, *, id: UUID | None = None
    ) -> UUID:
        """Where one is: degrees north and east."""
        return await self._sender.send(conversation_id, "location", {"latitude": latitude, "longitude": longitude}, id)

    async def timer(self, conversation_id: UUID, seconds: int, *, id: UUID | None = None) -> UUID:
        """Set the timer of the conversation: texts that the account sends there from now on carry it and disappear that many seconds after they were read; 0 turns it off. Either side sets it for its own and the other's."""
        return await self._sender.send(conversation_id, "timer", {"seconds": seconds}, id)

    async def read(self, conversation_id: UUID, targets: Sequence[Target]) -> None:
        """These of others were read: their timers run from now, one's own other devices are told, and their senders, unless the account's setting `readReceipts` is false. What was read before is told no more."""
        await self._mark_read(conversation_id, targets)

    async def typing(self, conversation_id: UUID, *, is_typing: bool = True) -> None:
        """One types: say it again every few seconds while it goes on, and once when it is over. Who is not connected says and hears nothing of it."""
        await self._live.typing(conversation_id, is_typing=is_typing)


@contextmanager
def _checked_length(text: str) -> Iterator[None]:
    """What is too large for one message is said in characters. Raises TextTooLong."""
    try:
        yield
    except TooLarge:
        length, octets = display_length(text), len(text.encode())
        if octets < MAX_PADDED // 2:
            raise
        most = length * MAX_PADDED // octets // 1_000 * 1_000
        raise TextTooLong(
            "text", f"a message holds about {most:,} characters like these; this has {length:,}. Send it as a file"
        ) from None
