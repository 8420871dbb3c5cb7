"""The widgets of the screen: message list, composer and dialogs."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static, TextArea


class MessageList(OptionList):
    """The rows of a conversation, the newest at the bottom."""

    class OlderRequested(Message):
        """The user scrolled above the first row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "app.reply", "Reply"),
        Binding("e", "app.edit", "Edit"),
        Binding("u", "app.unsend", "Unsend"),
        Binding("plus", "app.react", "React"),
        Binding("s", "app.save", "Save files"),
        Binding("question_mark", "app.help", "Help", show=False),
    ]

    def action_cursor_up(self) -> None:
        """See OptionList; at the first row older rows are requested."""
        if not self.highlighted:
            self.post_message(self.OlderRequested())
        else:
            super().action_cursor_up()

    def replace_rows(self, rows: list[Content]) -> None:
        """Show these rows. The cursor stays on its row, or on the newest if it was there."""
        before, chosen = self.option_count, self.highlighted
        is_at_end = chosen is None or chosen >= before - 1
        self.clear_options()
        self.add_options(rows)
        if rows:
            from_end = before - (chosen or 0)
            self.highlighted = len(rows) - 1 if is_at_end else max(0, len(rows) - max(1, from_end))


class Composer(TextArea):
    """The text field: Enter sends, Ctrl+J inserts a new line."""

    class Submitted(Message):
        """The user sent this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class QuitRequested(Message):
        """All keys typed before the quit key were handled."""

    def request_quit(self) -> None:
        """Post QuitRequested behind the keys already typed: they are queued longer than the quit key."""
        self.call_later(self.post_message, self.QuitRequested())

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("enter", "ctrl+j"):
            event.stop()
            event.prevent_default()
            if event.key == "ctrl+j":
                self.insert("\n")
            elif self.text.strip():
                self.post_message(self.Submitted(self.text))
                self.clear()
            return
        await super()._on_key(event)


class PromptDialog(ModalScreen[str | None]):
    """A question with a one-line answer, which may be empty; Escape returns None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, suggested: str = "") -> None:
        super().__init__()
        self._question = question
        self._suggested = suggested

    def compose(self) -> ComposeResult:
        """See Screen."""
        with Vertical(classes="box"):
            yield Static(Content(self._question))
            yield Input(self._suggested, select_on_focus=False)

    def _on_input_submitted(self, event: Input.Submitted) -> None:
        _ = self.dismiss(event.value.strip())


class TextDialog(ModalScreen[None]):
    """A text to read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss(None)", "Close")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """See Screen."""
        with Vertical(classes="box"):
            yield Static(Content(self._text))
