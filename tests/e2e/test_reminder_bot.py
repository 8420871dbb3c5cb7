"""The reminder bot of examples/, killed at random moments: every reminder is kept and comes, once."""

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from scripts.nodes import AllInOneProcess
from tests.e2e.test_examples import EXAMPLES, started
from tests.support.cli_runner import CliRunner
from tests.support.sdk_clients import open_client, register
from vyry.client.api.client import Client
from vyry.client.store.events import Message


pytestmark = pytest.mark.timeout(240)
KILLS = 4


async def heard_until(client: Client, words: str) -> list[str]:
    """What the bot says, up to these words."""
    found: list[str] = []
    async for event in client.events():
        if isinstance(event, Message) and not event.is_own:
            found.append(event.text)
            if event.text == words:
                break
    return found


async def test_a_reminder_bot_that_is_killed_loses_and_doubles_nothing(
    all_in_one: AllInOneProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "bot"
    bot_id = await asyncio.to_thread(CliRunner(all_in_one, tmp_path).sign_up, f"{folder}")
    async with open_client(all_in_one, tmp_path / "ann") as ann:
        await register(ann, all_in_one)
        chat = await ann.direct(UUID(bot_id))
        for number in range(3 * KILLS):
            await ann.send_text(chat, f"remind {number % 2} {number}")
        for _ in range(KILLS):
            bot = await started(str(EXAMPLES / "reminder_bot.py"), str(folder), all_in_one.url)
            await asyncio.sleep(random.uniform(0, 6))
            bot.kill()
            await bot.communicate()
        bot = await started(str(EXAMPLES / "reminder_bot.py"), str(folder), all_in_one.url)
        await ann.send_text(chat, "remind 2 end")
        heard = await heard_until(ann, "Now: end")

    bot.send_signal(signal.SIGTERM)
    assert (await bot.communicate(), bot.returncode) == ((b"", b""), 0)
    words = [*map(str, range(3 * KILLS)), "end"]
    assert Counter(heard) == Counter(f"{what}: {each}" for each in words for what in ("I will", "Now"))
    assert len((EXAMPLES / "reminder_bot.py").read_text().splitlines()) <= 60
