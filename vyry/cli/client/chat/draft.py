"""What the composer sends next: a message, a reply, or an edit."""

from textual.app import App

from vyry.cli.client.chat.chat_model import ChatModel
from vyry.cli.client.chat.transcript import find_row
from vyry.cli.client.chat.widgets import Composer
from vyry.client.api.client import Client
from vyry.client.store.events import Target


class Draft:
    """The mode of the composer. Sending may raise ClientError, Refusal, CommandFailed."""

    def __init__(self, chat: App[None], model: ChatModel, client: Client) -> None:
        self._chat = chat
        self._model = model
        self._client = client
        self._reply_target: Target | None = None
        self._edit_target: Target | None = None
        #: The mode as a text for the status line.
        self.mode_text = ""

    def reset(self) -> None:
        """Send the next text as a message."""
        self._reply_target = self._edit_target = None
        self.mode_text = ""

    async def send(self, text: str) -> None:
        """Send the text as a message, reply or edit."""
        conversation_id, reply_to, edited = self._model.require_open(), self._reply_target, self._edit_target
        self.reset()
        if edited is not None:
            await self._client.messages.edit(conversation_id, edited, text)
        else:
            await self._client.messages.text(conversation_id, text, reply_to=reply_to)

    def start_reply(self, target: Target | None) -> None:
        """Send the next text as a reply to this message."""
        if target is not None:
            self.reset()
            self._reply_target, self.mode_text = target, "replying; Escape cancels"
            self._chat.query_one(Composer).focus()

    def start_edit(self, target: Target | None) -> None:
        """Send the next text as an edit of this message, if it is an own one."""
        row = find_row(self._model.rows, target)
        if target is not None and row is not None and row.is_own:
            self.reset()
            self._edit_target, self.mode_text = target, "editing; Escape cancels"
            composer = self._chat.query_one(Composer)
            composer.text = row.text
            composer.focus()
