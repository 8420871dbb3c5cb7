"""The search of the full-screen client: words, and the messages that have them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from vyry.client.store.events import Message


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that was found, and its row."""

    message: Message
    row: Content


class SearchDialog(ModalScreen[Message | None]):
    """Asks for words and shows the matching messages, newest first; returns the chosen message. Escape returns None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close")]

    def __init__(self, find: Callable[[str], Awaitable[Sequence[FoundMessage]]]) -> None:
        super().__init__()
        self._find = find
        self._found: Sequence[FoundMessage] = ()

    def compose(self) -> ComposeResult:
        """See Screen."""
        with Vertical(classes="box"):
            yield Static(Content("Words to search for in all conversations (Enter searches, Escape closes):"))
            yield Input(select_on_focus=False)
            yield OptionList(id="found")

    @on(Input.Submitted)
    async def _search(self, event: Input.Submitted) -> None:
        self._found = await self._find(event.value) if event.value.strip() else ()
        if not self.is_attached:
            return
        found = self.query_one("#found", OptionList)
        found.clear_options()
        found.add_options([each.row for each in self._found] or [Content("No message has these words.")])
        if self._found:
            found.highlighted = 0
            found.focus()

    @on(OptionList.OptionSelected, "#found")
    def _choose(self, event: OptionList.OptionSelected) -> None:
        if event.option_index < len(self._found):
            _ = self.dismiss(self._found[event.option_index].message)
