"""`vyry client chat` quit at any moment: whatever is under way then ends without a traceback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.support.chat_screen import Screen, screen, shown, until
from tests.support.cli_runner import CliRunner
from tests.support.sdk_clients import pair
from vyry.client.api.client import Client


pytestmark = pytest.mark.timeout(120)
#: Moments after an event came, spread over what one paint takes.
MOMENTS = tuple(0.015 * each for each in range(8))


@asynccontextmanager
async def busy(client: Client, chat: UUID) -> AsyncIterator[None]:
    """The other side writes and types meanwhile."""

    async def writes() -> None:
        for each in range(3):
            await client.messages.typing(chat)
            await client.send_text(chat, f"word {each}")

    writing = asyncio.create_task(writes())
    try:
        yield
    finally:
        await writing


@pytest.mark.parametrize("keys", [(), ("ctrl+q",)], ids=["closed", "quit"])
async def test_a_screen_left_while_events_arrive_ends_quietly(
    all_in_one: AllInOneProcess, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        for moment in MOMENTS:
            async with busy(bo, chat), screen(ann, chat) as pilot:
                await until(pilot, lambda: "hello Ann" in shown(pilot))
                await asyncio.sleep(moment)
                await pilot.press(*keys)

            assert (pilot.app.return_code or 0, pilot.app.screen_stack) == (0, [])


@pytest.mark.parametrize("key", ["f1", "ctrl+o", "ctrl+t"])
async def test_a_screen_left_while_a_box_opens_ends_quietly(
    all_in_one: AllInOneProcess, tmp_path: Path, key: str
) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat):
        for moment in MOMENTS[::2]:
            async with busy(bo, chat), screen(ann, chat) as pilot:
                await until(pilot, lambda: "hello Ann" in shown(pilot))
                await pilot.press(key)
                await asyncio.sleep(moment)

            assert (pilot.app.return_code or 0, pilot.app.screen_stack) == (0, [])


async def test_under_an_open_box_the_screen_still_shows_what_comes(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    async with pair(all_in_one, tmp_path) as (ann, bo, chat), screen(ann, chat) as pilot:
        await until(pilot, lambda: "hello Ann" in shown(pilot))
        for key in ("f1", "ctrl+o", "ctrl+t"):
            said = f"under {key}"
            sending = asyncio.create_task(bo.send_text(chat, said))
            await pilot.press(key)
            await until(pilot, lambda: said in shown(pilot) and len(pilot.app.screen_stack) == 2)  # noqa: B023
            await sending
            await pilot.press("escape")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1)


async def test_what_is_entered_right_before_quitting_is_kept(all_in_one: AllInOneProcess, tmp_path: Path) -> None:
    terminal = CliRunner(all_in_one, tmp_path)
    await asyncio.to_thread(terminal.sign_up, "ann")
    bo = await asyncio.to_thread(terminal.sign_up, "bo")
    real = Screen(tmp_path, bo, "--profile", "ann")
    await real.shows(b"Connected")
    real.press(b"the-last-word\r\x11")

    assert await real.ended() == 0
    assert "the-last-word" in (await asyncio.to_thread(terminal.run_client, "ann", "history", bo)).out
