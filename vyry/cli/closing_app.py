"""The base of the full-screen commands: an application that may be quit at any moment."""

from textual.app import App
from textual.events import Event, InputEvent, Paste


class ClosingApp(App[None]):
    """An application without a traceback at its end: input that arrives after the last screen has closed is dropped.

    Textual looks for the active screen then, and raises ScreenStackError.
    """

    async def on_event(self, event: Event) -> None:
        """See App."""
        if self.screen_stack or not isinstance(event, InputEvent | Paste):
            await super().on_event(event)
