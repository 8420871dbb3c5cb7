"""The parts of the screen: what was said, where one writes, and boxes that ask or tell something."""

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
    """What was said, the newest at the bottom."""

    class OlderRequested(Message):
        """Somebody wants to see what stands above the first row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "app.reply", "Reply"),
        Binding("e", "app.edit", "Edit"),
        Binding("u", "app.unsend", "Unsend"),
        Binding("plus", "app.react", "React"),
        Binding("s", "app.save", "Save files"),
        Binding("question_mark", "app.help", "Help", show=False),
    ]

    def action_cursor_up(self) -> None:
        """See OptionList; above the first row there may be older ones."""
        if not self.highlighted:
            self.post_message(self.OlderRequested())
        else:
            super().action_cursor_up()

    def replace_rows(self, rows: list[Content]) -> None:
        """Show these rows; who looked at the newest sees the newest again, who looked at another one keeps it."""
        before, chosen = self.option_count, self.highlighted
        is_at_end = chosen is None or chosen >= before - 1
        self.clear_options()
        self.add_options(rows)
        if rows:
            from_end = before - (chosen or 0)
            self.highlighted = len(rows) - 1 if is_at_end else max(0, len(rows) - max(1, from_end))


class Composer(TextArea):
    """Where one writes: Enter sends, Ctrl+J makes a new line."""

    class Submitted(Message):
        """What was written is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class QuitRequested(Message):
        """Everything typed before was handled: it is time to quit."""

    def request_quit(self) -> None:
        """Post Left behind what is typed already: keys come here by a longer way than the one that quits."""
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
    """A question with an answer of one line, which may be empty; Escape: none."""

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
    """Something to read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss(None)", "Close")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """See Screen."""
        with Vertical(classes="box"):
            yield Static(Content(self._text))
