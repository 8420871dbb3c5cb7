"""A full-screen command that is quit while a person types: what arrives after its last screen is dropped."""

import pytest
from textual.events import Event, Key, MouseDown, Paste

from vyry.cli.closing_app import ClosingApp


@pytest.mark.parametrize(
    "event",
    [
        Key("f1", None),
        Key("ctrl+q", None),
        Paste("words"),
        MouseDown(None, 1, 1, 0, 0, 1, shift=False, meta=False, ctrl=False),
    ],
    ids=lambda event: event.__class__.__name__,
)
async def test_input_after_the_last_screen_is_dropped(event: Event) -> None:
    app = ClosingApp()
    async with app.run_test():
        pass

    assert app.screen_stack == []
    await app.on_event(event)


async def test_before_that_keys_act() -> None:
    async with ClosingApp().run_test() as pilot:
        await pilot.press("ctrl+q")

    assert pilot.app.return_code == 0
