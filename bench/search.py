"""How long a search of a whole profile takes: 100,000 messages in Latin, Thai and Japanese, with edits, in a sealed store.

    make bench ARGS=--search
    python -m bench.search [MESSAGES]  (without the page)

Each figure is the median of five searches of all rows for a word that no message, or one early message, has: nothing ends such a search before the last row.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.results_page import replace_section
from vyry.client.api.search import MessageSearch
from vyry.client.store.events import Edit, Message
from vyry.client.store.journal import Journal
from vyry.client.store.store import Store


HEADING = "## Search"
MESSAGES = 100_000
GOAL_SECONDS = 3
ROUNDS = 5
_CONVERSATIONS = 40
_EDIT_EVERY = 50
_TEXTS = (
    "Shall we meet at the station at ten, or a little later? I bring the tickets and something to eat.",
    "Die Straße bleibt gesperrt, wir fahren über Köln und kommen erst gegen neun an. Grüße an euch!",
    "พรุ่งนี้ประชุมตอนเช้าที่สำนักงานใหญ่ กรุณามาก่อนเวลาสิบนาที",
    "明日の会議は十時からです。資料を忘れないでください。",
)


def fill(store: Store, count: int) -> None:
    """So many messages, the first of which has a word of its own, and an edit for every fiftieth."""
    journal = Journal(store)
    conversations, senders = ([uuid4() for _ in range(_CONVERSATIONS)] for _ in range(2))
    with store.transaction():
        for number in range(count):
            place, text = number % _CONVERSATIONS, _TEXTS[number % len(_TEXTS)]
            common: dict[str, Any] = {
                "conversation_id": conversations[place],
                "sender_id": senders[place],
                "sender_device_id": 1,
            }
            first = " pomegranate" if number == 0 else ""
            message = Message(**common, id=uuid4(), at=number, text=f"{text} {number}{first}")
            journal.add(message, is_handled=True)
            if number % _EDIT_EVERY == 1:
                edit = Edit(**common, id=uuid4(), at=number, of=message.target, text=f"{text} (edited)")
                journal.add(edit, is_handled=True)


async def measure(store: Store, words: str) -> tuple[list[float], int]:
    """Seconds of each search, and how many messages it found."""
    search, seconds, found = MessageSearch(store), [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = len(await search(words))
        seconds.append(time.perf_counter() - started)
    return seconds, found


async def section(count: int) -> str:
    """Fill a profile, search it, and return the figures."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "vyry.db", bytes(32)) as store:
        await asyncio.to_thread(fill, store, count)
        for words in ("absent", "pomegranate", "ประชุม absent", "strasse"):
            seconds, found = await measure(store, words)
            spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
            rows.append(f"| {words} | {statistics.median(seconds):.2f} ({spread}) | {found} |")
    lines = (
        HEADING,
        "",
        f"`make bench ARGS=--search`: {count:,} messages in a sealed store, median of {ROUNDS} searches (lowest to highest). Goal for {MESSAGES:,}: {GOAL_SECONDS} s.",
        "",
        "| words | seconds | found |",
        "| --- | --- | --- |",
        *rows,
        "",
    )
    return "\n".join(lines)


def run(out: Path, *, is_quick: bool) -> None:
    """Measure, print, and keep it in the page."""
    text = asyncio.run(section(1_000 if is_quick else MESSAGES))
    print(text)
    if not is_quick:
        out.write_text(replace_section(out.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    print(asyncio.run(section(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES)))
