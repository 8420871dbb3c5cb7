"""Actions of the full-screen client: unsend, react, send and save files, compare safety numbers."""

import asyncio
from pathlib import Path
from typing import Final, Protocol, TypeVar
from uuid import UUID

from textual.screen import ModalScreen

from vyry.cli.client.chat.chat_model import ChatModel
from vyry.cli.client.chat.transcript import find_row
from vyry.cli.client.chat.widgets import PromptDialog, TextDialog
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.safety_numbers import NEW_NUMBER_TITLE, OLD_NUMBER_TITLE, KeyState, format_digits
from vyry.client.api.client import Client
from vyry.client.api.files import ProgressCallback
from vyry.client.api.safety import SafetyNumbers
from vyry.client.errors import NotCompared
from vyry.client.store.events import Message, Target


HELP_TEXT: Final = """Enter sends, Ctrl+J starts a new line, Tab moves between the panes, arrows select.
In the conversation list, Enter opens a conversation.

On a message (Tab to the message list, then arrows):
  r  reply                  e  edit (your own)
  u  unsend (your own)      +  react
  s  save its files         Up on the first message: load older ones

Everywhere:
  Ctrl+F  search            Ctrl+O  send a file
  Ctrl+T  safety number     Escape  back to input
  Ctrl+Q  quit              F1      this help

! decision needed: after a key change, Ctrl+T shows both safety numbers
waits: not sent yet   ✓ accepted by the node   ✓✓ delivered   ✓✓ read"""


_Result = TypeVar("_Result")


class DialogHost(Protocol):
    """The screen that shows dialogs. Once it is closing, `show_dialog` raises CancelledError and `show_message` does nothing."""

    async def show_dialog(self, dialog: ModalScreen[_Result]) -> _Result | None:
        """Show a dialog and return what the user entered."""

    def show_message(self, text: str) -> None:
        """Show one line for a while."""


class ChatActions:
    """The actions. Each may raise ClientError, Refusal, CommandFailed, OSError."""

    def __init__(self, chat: DialogHost, model: ChatModel, client: Client) -> None:
        self._chat = chat
        self._model = model
        self._client = client
        #: The running file transfer, for the status line.
        self.transfer_status = ""

    async def unsend(self, target: Target | None) -> None:
        """Unsend a message, if it is an own one."""
        row = find_row(self._model.rows, target)
        if target is not None and row is not None and row.is_own:
            await self._client.messages.unsend(self._model.require_open(), target)

    async def react(self, target: Target | None) -> None:
        """React to a message."""
        if target is None:
            return
        emoji = await self._chat.show_dialog(PromptDialog("Reaction emoji (empty removes your reaction):", "👍"))
        if emoji is not None:
            await self._client.messages.react(self._model.require_open(), target, emoji or None)

    async def attach(self) -> None:
        """Send a file."""
        conversation_id = self._model.require_open()
        path = await self._chat.show_dialog(PromptDialog("Path of the file to send:"))
        if path:
            file = await asyncio.to_thread(Path(path).expanduser)
            await self._client.files.send(conversation_id, file, progress=self._progress(file.name))
            self.transfer_status = ""

    async def save(self, target: Target | None, folder: Path) -> None:
        """Save the files of a message to a folder that the user confirms."""
        row = find_row(self._model.rows, target)
        event = row.event if row is not None else None
        if not isinstance(event, Message) or not event.attachments:
            return
        path = await self._chat.show_dialog(PromptDialog("Folder to save to:", str(folder)))
        if not path:
            return
        into = await asyncio.to_thread(Path(path).expanduser)
        for each in event.attachments:
            saved = await self._client.files.download(each, into, self._progress("file"))
            self._chat.show_message(f"Saved as {saved}.")
        self.transfer_status = ""

    async def safety(self) -> None:
        """Show the safety number, or the old and the new one, and check the digits that the user types. Raises NotCompared."""
        others = self._model.other_members(self._model.require_open())
        if len(others) != 1:
            raise CommandFailed(
                Exit.FAILED,
                "Safety numbers exist for direct conversations only: open the conversation with one person.",
            )
        user_id, who = others[0], self._model.name_of(others[0])
        numbers = await self._client.safety.numbers(user_id)
        typed = await self._chat.show_dialog(PromptDialog(self._safety_text(user_id, numbers)))
        if not typed:
            return
        digits = "".join(typed.split())
        if digits == numbers.new:
            await self._client.safety.accept(user_id, digits)
            await self._client.safety.verify(user_id, digits)
            self._chat.show_message(f"The new key of {who} is accepted and verified. Held messages are being sent.")
        elif digits == numbers.held and numbers.new is not None:
            raise NotCompared(f"This is the old safety number; {who} has a new key. Nothing was changed.")
        else:
            await self._client.safety.verify(user_id, digits)
            self._chat.show_message("Marked as verified, until the key changes.")

    def _safety_text(self, user_id: UUID, numbers: SafetyNumbers) -> str:
        """The number, or both, and the prompt."""
        who = self._model.name_of(user_id)
        state = KeyState.VERIFIED if self._client.safety.is_verified(user_id) else KeyState.UNVERIFIED
        ask = f"Enter the 60 digits that {who} sees on their device (Escape: cancel):"
        if numbers.held is not None and numbers.new is not None:
            return f"{OLD_NUMBER_TITLE}\n{format_digits(numbers.held)}\n\n{NEW_NUMBER_TITLE}\n{format_digits(numbers.new)}\n\n{ask}"
        return f"{format_digits(numbers.held or numbers.new or '')}\n{state}\n\n{ask}"

    async def help(self) -> None:
        """Show the key bindings."""
        await self._chat.show_dialog(TextDialog(HELP_TEXT))

    def _progress(self, name: str) -> ProgressCallback:
        def update(done: int, total: int) -> None:
            self.transfer_status = f"{name}: {100 * done // max(total, 1)} %"

        return update
