"""What the next words are: a message of their own, an answer, or other words for earlier ones."""

from textual.app import App

from vyry.cli.client.chat.chat_model import ChatModel
from vyry.cli.client.chat.transcript import find_row
from vyry.cli.client.chat.widgets import Composer
from vyry.client.api.client import Client
from vyry.client.store.events import Target


class Draft:
    """Says them. Raises a ClientError, a Refusal, Ended."""

    def __init__(self, chat: App[None], desk: ChatModel, client: Client) -> None:
        self._chat = chat
        self._model = desk
        self._client = client
        self._reply_target: Target | None = None
        self._edit_target: Target | None = None
        #: What the next words are for.
        self.mode_text = ""

    def reset(self) -> None:
        """The next words are a message of their own."""
        self._reply_target = self._edit_target = None
        self.mode_text = ""

    async def send(self, text: str) -> None:
        """Say it, in answer to what was chosen, or in the place of it."""
        where, answered, changed = self._model.require_open(), self._reply_target, self._edit_target
        self.reset()
        if changed is not None:
            await self._client.messages.edit(where, changed, text)
        else:
            await self._client.messages.text(where, text, reply_to=answered)

    def start_reply(self, target: Target | None) -> None:
        """The next words answer this."""
        if target is not None:
            self.reset()
            self._reply_target, self.mode_text = target, "answering; Escape ends it"
            self._chat.query_one(Composer).focus()

    def start_edit(self, target: Target | None) -> None:
        """The next words stand in the place of this, if one said it oneself."""
        row = find_row(self._model.rows, target)
        if target is not None and row is not None and row.is_own:
            self.reset()
            self._edit_target, self.mode_text = target, "editing; Escape ends it"
            composer = self._chat.query_one(Composer)
            composer.text = row.text
            composer.focus()
