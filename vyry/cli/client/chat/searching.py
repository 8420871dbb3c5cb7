"""Finds messages for the search dialog, and the rows that show them."""

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from vyry.cli.client.chat.actions import DialogHost
from vyry.cli.client.chat.chat_model import PAGE_SIZE, ChatModel
from vyry.cli.client.chat.rendering import file_names, format_time, short_name
from vyry.cli.client.chat.search_dialog import FoundMessage, SearchDialog
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import sanitize
from vyry.client.api.client import Client
from vyry.client.store.events import Message
from vyry.client.store.search import SearchHit
from vyry.kernel.search_text import excerpt, search_words


#: Characters of a message in the list, and messages in it.
_MAX_EXCERPT: Final = 160
_MAX_FOUND: Final = 100
#: A conversation is opened at a message up to this many rows back: older rows would make the screen slow.
MAX_DEPTH: Final = 2_000


class ChatSearch:
    """Asks for words, and opens the conversation of the message that the user chooses. May raise ClientError, CommandFailed."""

    def __init__(self, chat: DialogHost, model: ChatModel, client: Client) -> None:
        self._chat = chat
        self._model = model
        self._client = client

    async def choose(self) -> Message | None:
        """The message that the user chose; the model shows its conversation then."""
        message = await self._chat.show_dialog(SearchDialog(self._find))
        if message is None:
            return None
        depth = self._client.messages.search.depth(message)
        if depth > MAX_DEPTH:
            raise CommandFailed(
                Exit.FAILED,
                f"This message is {depth:,} rows back: `vyry client search` prints it with those around it.",
            )
        self._model.open_id, self._model.jump_to = message.conversation_id, message.target
        self._model.limit = depth + PAGE_SIZE
        return message

    async def _find(self, words: str) -> Sequence[FoundMessage]:
        folded = search_words(words)
        found = await self._client.messages.search(words, limit=_MAX_FOUND) if folded else []
        for each in {each.message.sender_id for each in found} - {self._model.me}:
            await self._model.names.load(each)
        return [FoundMessage(each.message, self._row(each, folded)) for each in found]

    def _row(self, hit: SearchHit, words: tuple[str, ...]) -> Content:
        message = hit.message
        text = excerpt(sanitize(message.text).replace("\n", " "), words, _MAX_EXCERPT)
        files = f" {file_names(message)}" if message.attachments else ""
        return Content.assemble(
            (f"{format_time(message.at)} ", "dim"),
            (self._model.title(message.conversation_id), "$accent"),
            (f"\n  {short_name(self._model.name_of(message.sender_id))}: ", "bold"),
            f"{text}{files}",
            (" (edited)" if hit.is_edited else "", "dim"),
        )
