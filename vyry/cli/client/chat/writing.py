"""What the next words are: a message of their own, an answer, or other words for earlier ones."""

from textual.app import App

from vyry.cli.client.chat.desk import Desk
from vyry.cli.client.chat.transcript import row_of
from vyry.cli.client.chat.widgets import Composer
from vyry.client.client import Client
from vyry.client.events import Target


class Writing:
    """Says them. Raises a ClientError, a Refusal, Ended."""

    def __init__(self, chat: App[None], desk: Desk, client: Client) -> None:
        self._chat = chat
        self._desk = desk
        self._client = client
        self._answered: Target | None = None
        self._changed: Target | None = None
        #: What the next words are for.
        self.doing = ""

    def forget(self) -> None:
        """The next words are a message of their own."""
        self._answered = self._changed = None
        self.doing = ""

    async def say(self, text: str) -> None:
        """Say it, in answer to what was chosen, or in the place of it."""
        where, answered, changed = self._desk.where(), self._answered, self._changed
        self.forget()
        if changed is not None:
            await self._client.messages.edit(where, changed, text)
        else:
            await self._client.messages.text(where, text, reply_to=answered)

    def answer(self, target: Target | None) -> None:
        """The next words answer this."""
        if target is not None:
            self.forget()
            self._answered, self.doing = target, "answering; Escape ends it"
            self._chat.query_one(Composer).focus()

    def change(self, target: Target | None) -> None:
        """The next words stand in the place of this, if one said it oneself."""
        row = row_of(self._desk.rows, target)
        if target is not None and row is not None and row.is_own:
            self.forget()
            self._changed, self.doing = target, "editing; Escape ends it"
            composer = self._chat.query_one(Composer)
            composer.text = row.text
            composer.focus()
